"""The model-based state machines of all rooms, each run for as long as one likes."""
