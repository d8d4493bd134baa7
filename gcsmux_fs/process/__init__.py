"""The process itself: daemon, readiness, log, memory, core dumps, deferred calls."""
