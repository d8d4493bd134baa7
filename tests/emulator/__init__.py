"""The emulator: its plain parts alone, and all of it by Google's own client."""
