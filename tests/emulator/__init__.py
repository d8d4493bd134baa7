"""Tests of the emulator: its parts one by one, and the whole server with Google's client."""
