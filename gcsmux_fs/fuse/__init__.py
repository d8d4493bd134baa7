"""Connects the file system to the kernel through pyfuse3; mounts, unmounts, reads mount tables."""
