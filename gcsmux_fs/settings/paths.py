"""Paths, as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from gcsmux_fs.model.errors import ConfigError

__all__ = ["absolute_path", "parse_directory", "readable_file"]


def absolute_path(text: str) -> Path:
    """Return `text` as an absolute path, without following symbolic links.

    Raises:
        ConfigError: the path is relative, and the current directory does not exist.
    """
    try:
        return Path(text).absolute()
    except OSError as error:
        raise ConfigError(
            f"{text!r} is relative to the current directory, which no longer exists"
            f" ({error.strerror}): write an absolute path."
        ) from None


def parse_directory(text: str) -> Path:
    """Return the absolute path of a directory; no system call on the path, as it may hang.

    Raises:
        ConfigError: the text is empty, or begins with a tilde.
    """
    if not text:
        raise ConfigError("the text is empty: write the path of a directory.")
    if text.startswith("~"):
        raise ConfigError(f"{text!r} begins with ~, which a shell replaces: write the whole path.")
    return Path(os.path.normpath(absolute_path(text)))


def readable_file(text: str) -> Path:
    """Return `text` as an absolute path of a file from which one byte was read.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = absolute_path(text)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError(f"{text!r} cannot be read: {error.strerror}.") from None
    return path
