"""Tests of the emulator: its parts alone, and the whole server with Google's client."""
