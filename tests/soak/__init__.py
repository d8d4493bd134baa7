"""A soak: programs and another writer use a real mount under random faults."""
