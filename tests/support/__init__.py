"""What tests of several rooms share: the mount harness, the emulator process, programs, sizes."""
