"""Code that the tests of several folders share: mounts, emulator process, test programs, sizes."""
