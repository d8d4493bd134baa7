"""The process: start, readiness, log, memory, core dumps, deferred calls, standard streams."""
