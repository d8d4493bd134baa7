"""Finds the mount that a path on the command line means, without looking at any mount.

The kernel's mount table shows where mounts are. A path inside a mount is never used in a system
call, because the call would wait for a mount that hangs. Symbolic links outside of all mounts of
this program are followed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.fuse.mountinfo import covering_mount, mount_table
from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = ["locate_path", "name_in_mount", "only_mount", "own_mounts", "resolve_outside"]

# Maximum number of symbolic links in a path (MAXSYMLINKS in the kernel).
_MAX_LINKS = 40


def own_mounts(table: tuple[MountEntry, ...]) -> list[MountEntry]:
    """Return the mounts of this program."""
    return [entry for entry in table if entry.is_gcsmux]


def only_mount() -> MountEntry:
    """Return the only mount of this machine.

    Raises:
        ConfigError: there is no mount, or more than one.
    """
    mounts = {entry.device: entry for entry in reversed(own_mounts(mount_table()))}
    if not mounts:
        raise ConfigError("no bucket is mounted by gcsmux-mount.")
    if len(mounts) > 1:
        paths = ", ".join(sorted(entry.path for entry in mounts.values()))
        raise ConfigError(f"several buckets are mounted, name one of their mount points: {paths}.")
    return next(iter(mounts.values()))


def locate_path(path: str) -> tuple[MountEntry, str]:
    """Return the mount in which `path` lies, and the name of the path in its bucket directory.

    The name has no slash at its beginning and end; it is empty for the root of the mount.

    Raises:
        ConfigError: the path is in no mount of this program.
    """
    if not path:
        raise ConfigError("a path is an empty text: write a path in a mount.")
    table = mount_table()
    mounts = {entry.path for entry in own_mounts(table)}
    try:
        absolute = path if path.startswith("/") else f"{Path.cwd()}/{path}"
        resolved = resolve_outside(absolute, mounts, os.readlink)
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror}.") from None
    entry = covering_mount(table, resolved)
    if entry is None or not entry.is_gcsmux:
        raise ConfigError(f"{path} is in no mount of gcsmux-mount: `gcsmux list` shows all mounts.")
    return entry, name_in_mount(entry, resolved)


def name_in_mount(entry: MountEntry, resolved: str) -> str:
    """Return the name of an absolute path below a mount, relative to the root of its bucket."""
    relative = os.path.relpath(resolved, entry.path)
    # A bind mount may show a directory below the root.
    return os.path.normpath(f"/{entry.root}/{relative}").strip("/")


def resolve_outside(path: str, mounts: set[str], read_link: Callable[[str], str]) -> str:
    """Resolve the symbolic links of an absolute path, up to the first directory in `mounts`.

    The rest of the path is used as it is written, except for `.` and `..`.

    Raises:
        OSError: a link cannot be read, or there are too many links.
    """
    done: list[str] = []
    rest = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            done = done[:-1]
            continue
        done.append(part)
        current = "/" + "/".join(done)
        if _is_inside(current, mounts):
            continue
        try:
            target = read_link(current)
        except OSError:
            continue  # Not a link, or absent. The caller finds out what the path is.
        links += 1
        if links > _MAX_LINKS:
            raise OSError(40, os.strerror(40), path)
        done = [] if target.startswith("/") else done[:-1]
        rest += [each for each in reversed(target.split("/")) if each not in ("", ".")]
    return "/" + "/".join(done)


def _is_inside(path: str, mounts: set[str]) -> bool:
    return any(path == mount or path.startswith(f"{mount}/") for mount in mounts)
