"""READs of open files: block cache, memory budget, readahead."""
