"""What concerns the whole process: start, readiness, log, memory, core dumps, streams 0 to 2."""
