"""Which object names a path in the mount means, without asking the service; sans-IO."""

from __future__ import annotations

from gcsmux_fs.namespace.name_lookup import parse_name
from gcsmux_fs.namespace.names import Form, split_location

__all__ = ["directory_location", "names_of_path", "split_path"]


def split_path(path: str) -> list[bytes]:
    """Return the file names in a path. Bytes that are not UTF-8 are surrogates in `path`."""
    return [part.encode(errors="surrogateescape") for part in path.split("/") if part]


def directory_location(location: str, name: bytes) -> str:
    """Return the location of the directory `name` in the directory `location`.

    Raises:
        NoSuchEntry: no directory can have this file name.
    """
    step = parse_name(location, name)
    return step.target if step.form is Form.PART else f"{step.target}/"


def names_of_path(root: str, path: str) -> list[str]:
    """Return the names to invalidate (see `Tree.invalidate`) for a path below the location `root`.

    The path may be a file or a directory with everything below it. The result has both names,
    because only the service shows which of them exists.

    Raises:
        NoSuchEntry: no entry can have this path.
    """
    location, parts = root, split_path(path)
    if not parts:
        return [root]
    for part in parts[:-1]:
        location = directory_location(location, part)
    step = parse_name(location, parts[-1])
    if step.form is Form.PLAIN:
        return [step.target, f"{step.target}/"]
    # The location of a %part~ directory ends within a component, so the directory around it is
    # dropped.
    return [split_location(location)[0]] if step.form is Form.PART else [step.target]
