"""One program of the soak: it uses the mount until it is asked to stop, and checks every result.

Run as `python -m tests.soak.worker KIND SEED MOUNT SLOTS NUMBER`. SLOTS is the path of the shared
memory (see `slots`), and NUMBER is the number of the worker's slot. The program prints JSON lines:
errors and wrong bytes immediately, and its counts about once per second. This module does not
import `gcsmux_fs`, because an ordinary program knows only the path of the mount.
"""

from __future__ import annotations

import mmap
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.read_methods import WAYS

from . import layout
from .checked import Failed, Stopped, Worker
from .layout import Fate, fate_of
from .slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .checked import OpenFile

__all__ = ["KINDS", "main"]

_READ_BYTES = 128 * 1024
_STALE_FILES = 30
_TOUCHED_BYTES = 40_000
_MAPPINGS = {"mmap-private": mmap.MAP_PRIVATE, "mmap-shared": mmap.MAP_SHARED}


def _sequential(worker: Worker) -> None:
    name = worker.random.choice([*layout.LARGE.names, *layout.MEDIUM.names, *layout.CHANGING.names])
    with worker.open(name) as file:
        file.forget_pages()
        file.ask_generation()
        for offset in range(0, file.size + 1, _READ_BYTES):
            file.read("read", offset, _READ_BYTES)


def _at_random(worker: Worker) -> None:
    with worker.open(worker.any_name()) as file:
        file.forget_pages()
        file.ask_generation()
        for _ in range(worker.random.randint(1, 12)):
            size = worker.random.choice([4096, worker.random.randrange(1, _READ_BYTES)])
            file.read("pread", file.somewhere(), size)
            worker.pause()


def _copying(worker: Worker) -> None:
    """Read pieces of a random file with the system calls that servers and cp(1) use."""
    with worker.open(worker.any_name()) as file:
        file.forget_pages()
        for _ in range(worker.random.randint(1, 6)):
            way = worker.random.choice(sorted(WAYS))
            file.read(way, file.somewhere(), worker.random.randrange(1, 4 * _READ_BYTES), way=way)
            worker.pause()


def _mapped(worker: Worker) -> None:
    with worker.open(worker.any_name()) as file:
        file.forget_pages()
        with _mapping(worker, file) as (operation, mapping):
            for _ in range(worker.random.randint(1, 12)):
                _touch(worker, file, operation, mapping, file.somewhere())
                worker.pause()


def _growing(worker: Worker) -> None:
    """Open and read growing objects; also read files whose objects have grown since the open."""
    opened: list[OpenFile] = []
    try:
        for _ in range(_STALE_FILES):
            time.sleep(worker.random.uniform(0, 0.1))
            try:
                opened.append(worker.open(worker.random.choice(layout.GROWING.names)))
                for file in (opened[-1], worker.random.choice(opened)):
                    _read_whole(worker, file)
            except Failed:
                pass
    finally:
        for file in opened:
            file.close()


def _read_whole(worker: Worker, file: OpenFile) -> None:
    if worker.random.random() < 0.5:
        file.forget_pages()
    way = worker.random.choice(sorted(WAYS))
    for offset in range(0, file.size + 1, 4 * _READ_BYTES):
        file.read(way, offset, 4 * _READ_BYTES, way=way)
    file.check_size()


def _growing_mapped(worker: Worker) -> None:
    """Map a growing object and read pieces of the mapping while the object grows."""
    with (
        worker.open(worker.random.choice(layout.GROWING.names)) as file,
        _mapping(worker, file) as (operation, mapping),
    ):
        for _ in range(3):
            for offset in range(0, file.size, _TOUCHED_BYTES):
                _touch(worker, file, operation, mapping, offset)
            file.check_size()
            file.forget_pages()
            time.sleep(worker.random.uniform(0, 0.2))


@contextmanager
def _mapping(worker: Worker, file: OpenFile) -> Iterator[tuple[str, mmap.mmap | bytes]]:
    """Map a whole file into memory; yield the operation's name, for reports, and the mapping.

    An empty file cannot be mapped, so its mapping is `b""`.
    """
    operation = worker.random.choice(sorted(_MAPPINGS))
    if not file.size:
        yield operation, b""
        return
    with file.doing(operation):
        mapping = mmap.mmap(
            file.descriptor, file.size, flags=_MAPPINGS[operation], prot=mmap.PROT_READ
        )
    with mapping:
        yield operation, mapping


def _touch(
    worker: Worker, file: OpenFile, operation: str, mapping: mmap.mmap | bytes, offset: int
) -> None:
    size = min(worker.random.randrange(1, _TOUCHED_BYTES), file.size - offset)
    # A page fault may end this process by SIGBUS, so the process first reports its counts.
    worker.flush()
    with file.doing(operation):
        found = mapping[offset : offset + size]
    file.check(offset, size, found)


def _small_files(worker: Worker) -> None:
    folders = sorted({name.rpartition("/")[0] for name in layout.SMALL.names})
    folder = worker.random.choice(folders)
    found = worker.list(folder)
    _compare_listing(worker, folder, found)
    for entry in found:
        try:
            with worker.open(f"{folder}/{entry}") as file:
                file.forget_pages()
                file.read("read small", 0, _READ_BYTES)
        except Failed:
            continue
    worker.pause()


def _reopened(worker: Worker) -> None:
    """Open the names of changing objects repeatedly, and read files that were opened earlier."""
    opened: list[OpenFile] = []
    try:
        for _ in range(4 * _STALE_FILES):
            name = worker.random.choice([*layout.CHANGING.names, *layout.CHURNING.names])
            worker.pause()
            try:
                opened.append(worker.open(name))
                opened[-1].ask_generation()
                opened[-1].read("pread", 0, 4096)
                old = worker.random.choice(opened)
                old.forget_pages()
                old.read("pread old", old.somewhere(), 60_000)
            except Failed:
                pass
            if len(opened) > _STALE_FILES:
                opened.pop(worker.random.randrange(len(opened))).close()
    finally:
        for file in opened:
            file.close()


def _listing(worker: Worker) -> None:
    worker.pause()
    folder = worker.random.choice(["", "stable", "changing", "churn", "small"])
    _compare_listing(worker, folder, worker.list(folder))
    for _ in range(5):
        name = worker.any_name()
        absent = fate_of(name) is Fate.COMES_AND_GOES
        with worker.doing("stat", name, may_be_absent=absent):
            worker.path(name).stat()
    name = worker.random.choice(layout.ABSENT)
    try:
        with worker.doing("stat absent", name, may_be_absent=True):
            status = worker.path(name).stat()
        # A directory is allowed: if a fault forbids listings, the mount assumes that an absent name
        # is a directory.
        if not stat.S_ISDIR(status.st_mode):
            worker.wrong(f"{name} exists, although it was never created")
        worker.count("absent names taken for directories")
    except Failed:
        pass


def _finding(worker: Worker) -> None:
    """Walk the whole mount with find(1), which reports unreadable directories on stderr."""
    worker.pause()
    with worker.doing("find", ""):
        done = subprocess.run(
            ["find", worker.root, "-type", "f", "-printf", "%P %s\n"],
            capture_output=True,
            text=True,
            check=False,
        )
    found = [line.partition(" ")[0] for line in done.stdout.splitlines()]
    if len(set(found)) != len(found):
        worker.wrong(f"find printed a name twice: {sorted(found)}")
    unknown = set(found) - {name for name, _ in layout.all_names()}
    if unknown:
        worker.wrong(f"find printed names that do not exist: {sorted(unknown)}")
    missing = {name for name, fate in layout.all_names() if fate is not Fate.COMES_AND_GOES}
    missing -= set(found)
    if missing and not done.stderr:
        worker.wrong(f"find did not print {sorted(missing)}")
    if done.stderr and any("No such file" not in line for line in done.stderr.splitlines()):
        worker.count("find with errors")
    time.sleep(0.2)


def _compare_listing(worker: Worker, folder: str, found: list[str]) -> None:
    entries = layout.entries_of(folder)
    if len(set(found)) != len(found):
        worker.wrong(f"{folder or 'the root'} contains a name twice: {sorted(found)}")
    sure = {name for name, fate in entries.items() if fate is not Fate.COMES_AND_GOES}
    if not sure <= set(found) <= set(entries):
        worker.wrong(
            f"{folder or 'the root'} lacks the names {sorted(sure - set(found))}"
            f" and shows the wrong names {sorted(set(found) - set(entries))}"
        )


def _ordered(worker: Worker) -> None:
    """Check that no file shows an older generation than this program has seen of it."""
    for name in (*layout.CHANGING.names, *layout.CHURNING.names):
        try:
            with worker.open(name) as file:
                file.ask_generation()
                file.check_order()
        except Failed:
            continue
    time.sleep(0.02)


KINDS: dict[str, Callable[[Worker], None]] = {
    "sequential": _sequential,
    "random": _at_random,
    "copying": _copying,
    "mapped": _mapped,
    "growing": _growing,
    "growing mapped": _growing_mapped,
    "small files": _small_files,
    "reopened": _reopened,
    "listing": _listing,
    "finding": _finding,
    "ordered": _ordered,
}


def main(kind: str, seed: str, root: str, slots: str, number: str) -> None:
    """Run one kind of program until the soak asks it to stop."""
    worker = Worker(root, seed, Slots(Path(slots), 0), int(number))
    try:
        while True:
            try:
                KINDS[kind](worker)
                worker.count("rounds")
            except Failed:
                worker.pause()
    except Stopped:
        worker.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
