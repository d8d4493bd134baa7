"""What a mount shows of its bucket: functions that `Program` calls in another process."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Followed", "Shown", "errno_name", "follow", "look_everywhere"]

_GENERATION = "user.gcs.generation"


@dataclass(frozen=True, slots=True)
class Shown:
    """What shows of a path. `content` is the content of a file, or the target of a link."""

    kind: str
    size: int = 0
    generation: str = ""
    content: bytes = b""


def look_everywhere(root: str, probes: list[str]) -> dict[str, Shown]:
    """Return what shows of all paths below `root`, and of the paths `probes`, which may be absent.

    Listings show the first, look-ups the second. An error is shown as the name of its errno.
    """
    shown: dict[str, Shown] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            names = os.listdir(f"{root}/{folder}")
        except OSError as error:
            shown[f"{folder} listed"] = Shown(errno_name(error))
            continue
        for name in names:
            path = f"{folder}/{name}" if folder else name
            shown[path] = _look(f"{root}/{path}")
            if shown[path].kind == "directory":
                folders.append(path)
    for path in probes:
        shown[f"{path} looked up"] = _look(f"{root}/{path}")
    return shown


def errno_name(error: OSError) -> str:
    """Return the name of the errno of an error."""
    return os.strerror(error.errno or 0)


def _look(path: str) -> Shown:
    try:
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            return Shown("directory")
        if stat.S_ISLNK(status.st_mode):
            return Shown("link", content=os.fsencode(os.readlink(path)))
        generation = os.getxattr(path, _GENERATION).decode()
        return Shown("file", status.st_size, generation, Path(path).read_bytes())
    except OSError as error:
        return Shown(errno_name(error))


@dataclass(frozen=True)
class Followed:
    """What a program saw of names that change: the sizes in their order, -1 while absent.

    `is_final` is true if each name has shown its last size through stat, ls and open.
    """

    sizes: dict[str, list[int]]
    is_final: bool
    errors: Counter[str]


def follow(root: str, final_sizes: dict[str, int], seconds: float) -> Followed:
    """Look at names by stat, ls and open in turns, until all show their last size.

    The files are directly below `root`. Give up after `seconds`.
    """
    sizes: dict[str, list[int]] = {name: [] for name in final_sizes}
    errors: Counter[str] = Counter()
    end = time.monotonic() + seconds
    is_final = False
    while not is_final and time.monotonic() < end:
        is_final = True
        for look in (_by_stat, _by_open):
            for name in final_sizes:
                try:
                    size = look(f"{root}/{name}")
                except FileNotFoundError:
                    size = -1
                except OSError as error:
                    errors[errno_name(error)] += 1
                    is_final = False
                    continue
                if sizes[name][-1:] != [size]:
                    sizes[name].append(size)
        listed = set(os.listdir(root))
        for name, size in final_sizes.items():
            is_final &= sizes[name][-1:] == [size] and (name in listed) == (size >= 0)
        time.sleep(0.002)
    return Followed(sizes, is_final, errors)


def _by_stat(path: str) -> int:
    return os.stat(path).st_size


def _by_open(path: str) -> int:
    content = Path(path).read_bytes()
    assert not content.strip(b"v"), content
    return len(content)
