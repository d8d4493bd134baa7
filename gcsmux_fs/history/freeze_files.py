"""Reads and replaces files of frozen names."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.history.freeze_format import lines_of, load_lines

if TYPE_CHECKING:
    from gcsmux_fs.history.freeze_format import FreezeHeader, FrozenState
    from gcsmux_fs.history.frozen_names import FrozenNames

__all__ = ["read_freeze_file", "write_freeze_file"]


def read_freeze_file(path: Path) -> FrozenState | None:
    """Return the content of a file; None if there is no file.

    Raises:
        OSError: the file cannot be read.
        BrokenFreezeFile: the file is damaged, or is no file of frozen names.
    """
    try:
        with path.open("rb") as file:
            return load_lines(file)
    except FileNotFoundError:
        return None


def write_freeze_file(
    path: Path, header: FreezeHeader, names: FrozenNames, *, written_ns: int, is_complete: bool
) -> None:
    """Write a file, so that after a crash either the old or the new content is there.

    A new file can be read by its owner only. A replaced file keeps its permissions.

    Raises:
        OSError: the file cannot be written.
    """
    descriptor, written = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(lines_of(header, names, written_ns=written_ns, is_complete=is_complete))
            with suppress(OSError):
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            file.flush()
            os.fsync(file.fileno())
        Path(written).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(written).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
