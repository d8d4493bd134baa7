"""A soak: readers, listers and another writer on a real mount, under random faults."""
