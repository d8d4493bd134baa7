"""Files that `gcsmux install-unit` writes, and that `gcsmux uninstall-unit` removes.

The first line of such a file is a comment with a checksum of the other lines. So a file that a user
has written or edited is recognised without a record elsewhere, and is never overwritten or removed
without --force.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import os
import re
import tempfile
from pathlib import Path

from gcsmux_fs.model.errors import GcsmuxError

__all__ = ["FileState", "file_state", "marked", "read_if_exists", "write_file"]

_MARK = "# Written by gcsmux install-unit (checksum {}). An edited file is not overwritten.\n"
_MARKED = re.compile(re.escape(_MARK).replace(r"\{\}", "([0-9a-f]{16})"))


class FileState(enum.Enum):
    """What is at the path of a file that is written or removed."""

    MISSING = enum.auto()
    UNCHANGED = enum.auto()
    """The file was written by install-unit, and has not been edited since then."""
    FOREIGN = enum.auto()
    """The file was written or edited by another program or a user."""


def marked(text: str) -> str:
    """Return the content of a file with this text: the comment with the checksum, then the text."""
    return _MARK.format(_checksum(text)) + text


def file_state(content: str | None) -> FileState:
    """Return the state of a file with this content; None if there is no file."""
    if content is None:
        return FileState.MISSING
    match = _MARKED.match(content)
    if match and match[1] == _checksum(content[match.end() :]):
        return FileState.UNCHANGED
    return FileState.FOREIGN


def read_if_exists(path: Path) -> str | None:
    """Return the content of a file, or None if the file does not exist.

    Raises:
        GcsmuxError: the file cannot be read.
    """
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GcsmuxError(f"{path} cannot be read: {error.strerror}.") from None


def write_file(path: Path, content: str) -> None:
    """Write a file with mode 0644, so that a crash leaves the old or the new content.

    Raises:
        GcsmuxError: the file cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = file.name
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise GcsmuxError(f"{path} cannot be written: {error.strerror}.") from None


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
