"""The TCP proxy, which makes the faults of connections happen."""
