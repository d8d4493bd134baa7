"""A runner for the hypothesis state machines of all rooms, each for a given time."""
