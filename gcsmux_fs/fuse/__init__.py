"""The kernel's face: operations, mount life cycle, signals, sd_notify."""
