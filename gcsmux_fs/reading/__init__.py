"""One read: block cache, readahead, memory budget, and the reader that joins them."""
