"""`python -m gcsmux_fs.emulator DIR` runs the command `gcsmux-emulator`."""

from gcsmux_fs.emulator.emulator_command import main

main()
