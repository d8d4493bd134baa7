"""The process as a whole: its start, readiness, log, memory, core dumps and standard streams."""
