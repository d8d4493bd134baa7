"""A soak: programs use a real mount while objects change and the emulator injects faults."""
