"""Tests of each part of the emulator, and of the whole emulator with Google's client."""
