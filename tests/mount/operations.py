"""The code blocks of docs/OPERATIONS.md; tests run them with paths replaced."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

__all__ = ["BLOCKS", "block", "moved", "needs", "needs_root"]

_DOCUMENT = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"
BLOCKS: list[tuple[str, str]] = re.findall(
    r"^```(\w+)\n(.*?)^```$", _DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="serves or mounts as root")


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test unless all these programs are installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def block(language: str, part: str = "") -> str:
    """Return the only block in this language that contains `part`."""
    (found,) = [text for kind, text in BLOCKS if kind == language and part in text]
    return found


def moved(text: str, moves: dict[str, Path]) -> str:
    """Return a block with each path replaced by the path that `moves` gives."""
    for old, new in moves.items():
        assert old in text
        text = text.replace(old, str(new))
    return text
