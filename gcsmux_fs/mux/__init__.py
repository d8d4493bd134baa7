"""The shared bidirectional stream: protocol core, assembly of ranges, retries, the pool."""
