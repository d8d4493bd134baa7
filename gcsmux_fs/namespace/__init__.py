"""Object names as a tree of directories: file names, lookups, listings, inodes, invalidation."""
