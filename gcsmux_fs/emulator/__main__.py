"""Runs the command `gcsmux-emulator`: `python -m gcsmux_fs.emulator DIR`."""

from gcsmux_fs.emulator.emulator_command import main

main()
