"""The kinds of faults, each a value."""
