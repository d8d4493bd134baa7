"""Reads ranges of objects over shared bidirectional streams: core, retries, registry."""
