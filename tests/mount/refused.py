"""Mounts that do not come about."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from .server import BUCKET, COMMANDS, END_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["refusal"]


def refusal(folder: Path, *options: str, bucket: str = BUCKET, **environment: str) -> str:
    """Run a mount that is refused; return its one line."""
    mountpoint = folder / "refused"
    mountpoint.mkdir(exist_ok=True)
    done = subprocess.run(
        [COMMANDS / "gcsmux-mount", "-f", *options, bucket, mountpoint],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )
    assert done.stdout == ""
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.isprintable()
    return line.removeprefix("gcsmux-mount: ")
