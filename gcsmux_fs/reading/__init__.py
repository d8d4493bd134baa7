"""Answers the kernel's READ requests for open files: block cache, memory budget, readahead."""
