"""Run mount commands that fail to start a mount."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

from tests.support.emulator_process import BUCKET, COMMANDS, END_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["refusal"]


def refusal(folder: Path, *options: str, bucket: str = BUCKET, **environment: str) -> str:
    """Run a mount command that must fail; return its error message, which must be one line."""
    with tempfile.TemporaryDirectory(dir=folder) as mountpoint:
        process = subprocess.run(
            [COMMANDS / "gcsmux-mount", "-f", *options, bucket, mountpoint],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=END_SECONDS,
            check=False,
        )
    assert process.stdout == ""
    assert process.returncode in (1, 78)
    (line,) = process.stderr.splitlines()
    assert line.isprintable()
    return line.removeprefix("gcsmux-mount: ")
