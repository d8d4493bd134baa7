"""Keeps verified parts of objects on a local disk, between the block cache and the streams."""
