"""The kernel side, by pyfuse3: operations, mounting, unmounting, mount tables of the kernel."""
