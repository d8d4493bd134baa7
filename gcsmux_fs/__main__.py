"""`python -m gcsmux_fs` is `gcsmux-mount`; a detached mount runs by this command."""

from __future__ import annotations

from gcsmux_fs.cli import mount_command

if __name__ == "__main__":
    mount_command()
