"""Object names seen as a tree of directories: spelling, listings, inodes."""
