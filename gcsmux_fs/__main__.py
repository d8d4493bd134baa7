"""`python -m gcsmux_fs` runs `gcsmux-mount`. A detached mount process is started in this way."""

from __future__ import annotations

from gcsmux_fs.cli import mount_command

if __name__ == "__main__":
    mount_command()
