"""Code that tests of several folders use, for example to run an emulator, mounts and programs."""
