"""Reads ranges of objects over bidirectional streams; all readers of an object share a stream."""
