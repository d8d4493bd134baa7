"""Disks for tests whose faults a test can switch on and off: slow, full, failing, hanging."""
