"""The TCP proxy, which causes the faults of connections."""
