"""Find Python interpreters of other versions: in $PATH, or installed by pyenv."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["find_interpreter"]


def find_interpreter(version: str) -> Path:
    """Return the interpreter of a version such as "3.12"; skip the test if there is none."""
    candidates = [shutil.which(f"python{version}")]
    if shutil.which("pyenv"):
        folder = subprocess.run(
            ["pyenv", "prefix", version], capture_output=True, text=True, check=False, timeout=20
        )
        candidates.append(f"{folder.stdout.strip()}/bin/python{version}")
    for candidate in candidates:
        # A shim of pyenv is in $PATH also if its version is not selected. Then the shim fails.
        if candidate is not None and _works(candidate, version):
            return Path(candidate)
    pytest.skip(f"Python {version} with the module venv is not installed")


def _works(interpreter: str, version: str) -> bool:
    code = f"import venv, sys; sys.exit('{version}' != '%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [interpreter, "-c", code], capture_output=True, check=False, timeout=20
        )
    except OSError:
        return False
    return done.returncode == 0
