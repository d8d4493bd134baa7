"""The code blocks of docs/OPERATIONS.md. Tests run the blocks with other paths in them."""

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
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can serve or mount here")


def needs(*programs: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test unless all these programs are installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def block(language: str, part: str = "") -> str:
    """Return the only code block in `language` that contains `part`."""
    (found,) = [text for kind, text in BLOCKS if kind == language and part in text]
    return found


def moved(text: str, moves: dict[str, Path]) -> str:
    """Return `text` with each path that is a key of `moves` replaced by the value of this key."""
    for old, new in moves.items():
        assert old in text
        text = text.replace(old, str(new))
    return text
