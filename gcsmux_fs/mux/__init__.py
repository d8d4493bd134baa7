"""The shared bidirectional streams: protocol core, assembly of ranges, retries, registry."""
