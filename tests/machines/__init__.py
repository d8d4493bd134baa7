"""Runs the hypothesis state machines of all packages, each for a given time."""
