"""The change feed: what Pub/Sub tells a mount about the changes of its bucket."""
