"""One program that uses the mount until it is told to stop, and checks all it is given.

Run as `python -m tests.soak.worker KIND SEED MOUNT SLOTS NUMBER`. What it finds goes to its
standard output as lines of JSON: errors and wrong bytes at once, counts every second. It imports
nothing of the project: a program knows a mount by its path only.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import layout
from .content import Identity, OpenContent, WrongBytes
from .layout import Fate, fate_of
from .slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["KINDS", "Failed", "Worker", "main"]

_REPORT_SECONDS = 1.0
_READ_BYTES = 128 * 1024
_STALE_FILES = 30
_GENERATION = "user.gcs.generation"


class Failed(Exception):
    """An operation has failed with an errno; it has been reported."""


class _Stopped(Exception):
    """The conductor wants this program to end."""


class Worker:
    """A program's view of the mount, its counts, and what it reports."""

    def __init__(self, root: str, seed: str, slots: Slots, number: int) -> None:
        self.root = Path(root)
        self.random = random.Random(seed)
        self._slots = slots
        self._slot = slots.slot(number)
        self._counts: Counter[str] = Counter()
        self._longest: dict[str, float] = {}
        self._reported = time.monotonic()
        self._told: set[tuple[str, int]] = set()

    # -- reporting

    def tell(self, **what: object) -> None:
        """Report at once."""
        print(json.dumps(what), flush=True)

    def wrong(self, text: str) -> None:
        """Report what must never happen."""
        self.tell(wrong=text)

    def flush(self) -> None:
        """Report the counts."""
        self.tell(counts=self._counts, longest=self._longest)
        self._counts.clear()
        self._longest.clear()
        self._reported = time.monotonic()

    def count(self, what: str, number: int = 1) -> None:
        """Count something."""
        self._counts[what] += number

    @contextmanager
    def doing(self, operation: str, name: str, *, may_be_absent: bool = False) -> Iterator[None]:
        """Do one thing to the mount, within its time, and report how it fails.

        Raises:
            Failed: it has failed.
        """
        if self._slots.stopping:
            raise _Stopped
        if time.monotonic() > self._reported + _REPORT_SECONDS:
            self.flush()
        error: OSError | None = None
        with self._slot.doing(f"{operation} {name}") as begun:
            try:
                yield
            except OSError as caught:
                error = caught
        ended = time.monotonic()
        self._counts[operation] += 1
        self._longest[operation] = max(self._longest.get(operation, 0.0), ended - begun)
        if error is None:
            return
        if not (may_be_absent and error.errno == errno.ENOENT):
            self.tell(
                failed=operation,
                name=name,
                errno=errno.errorcode.get(error.errno or 0, str(error)),
                begun=begun,
                ended=ended,
            )
        raise Failed from None

    # -- what programs do

    def path(self, name: str) -> Path:
        """Return where an object is seen."""
        return self.root / name

    def open(self, name: str) -> OpenFile:
        """Open a file; its bytes are checked as long as it is open."""
        absent = fate_of(name) is Fate.COMES_AND_GOES
        with self.doing("open", name, may_be_absent=absent):
            descriptor = os.open(self.path(name), os.O_RDONLY)
            size = os.fstat(descriptor).st_size
        return OpenFile(self, name, descriptor, size)

    def identified(self, name: str, generation: int, identity: Identity, size: int) -> None:
        """Report of which content a generation is, once."""
        if (name, generation) not in self._told:
            self._told.add((name, generation))
            self.tell(
                generation=generation,
                name=name,
                version=identity.version,
                shift=identity.shift,
                size=size,
            )

    def list(self, folder: str) -> list[str]:
        """List a directory."""
        with self.doing("list", folder):
            return [path.name for path in self.path(folder).iterdir()]

    def any_name(self) -> str:
        """Return a name, large files not less often than small ones."""
        group = self.random.choice(
            [layout.LARGE, layout.MEDIUM, layout.SMALL, layout.CHANGING, layout.CHURNING]
        )
        return self.random.choice(group.names)

    def pause(self) -> None:
        """Let the others have the processor for a moment."""
        time.sleep(self.random.uniform(0.0005, 0.008))


class OpenFile:
    """A file of the mount; reads of it are checked."""

    def __init__(self, worker: Worker, name: str, descriptor: int, size: int) -> None:
        self._worker = worker
        self.name = name
        self.descriptor = descriptor
        self.size = size
        self._content = OpenContent(name, size)
        self._generation = 0

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; whose bytes they were is reported."""
        os.close(self.descriptor)
        identity = self._content.identity
        if identity is None:
            return
        if fate_of(self.name) is Fate.STAYS and identity != Identity(self.name, 1):
            self._worker.wrong(f"{self.name}, which nobody has changed, is {identity}")
        if self._generation:
            self._worker.identified(self.name, self._generation, identity, self.size)

    def forget_pages(self) -> None:
        """Have the next read reach the mount, as far as the kernel lets the pages go."""
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def somewhere(self) -> int:
        """Return an offset within it, if it has any byte."""
        return self._worker.random.randrange(max(1, self.size))

    def ask_generation(self) -> None:
        """Learn the generation that is open."""
        with self._worker.doing("getxattr", self.name):
            self._generation = int(os.getxattr(self.descriptor, _GENERATION))

    def read(self, operation: str, offset: int, size: int) -> None:
        """Read and check."""
        end = min(offset + size, self.size)
        while True:
            with self._worker.doing(operation, self.name):
                found = os.pread(self.descriptor, size, offset)
            # A call that has got some bytes before it failed says so by their number alone.
            whole = offset + len(found) >= end or not found
            self.check(offset, size if whole else len(found), found)
            if whole:
                return
            offset += len(found)
            size -= len(found)

    def check(self, offset: int, size: int, found: bytes) -> None:
        """Check what a read has given."""
        self._worker.count("bytes", len(found))
        before = self._content.compared_bytes
        try:
            self._content.check(offset, size, found)
        except WrongBytes as error:
            self._worker.wrong(str(error))
        self._worker.count("bytes compared", self._content.compared_bytes - before)


# -- the kinds of programs; each does one round


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


def _mapped(worker: Worker) -> None:
    with worker.open(worker.any_name()) as file:
        file.forget_pages()
        if not file.size:
            return
        with mmap.mmap(file.descriptor, file.size, prot=mmap.PROT_READ) as mapping:
            for _ in range(worker.random.randint(1, 12)):
                offset = file.somewhere()
                size = min(worker.random.randrange(1, 40_000), file.size - offset)
                # What a page fault may end has been told before.
                worker.flush()
                with worker.doing("mmap", file.name):
                    found = mapping[offset : offset + size]
                file.check(offset, size, found)
                worker.pause()


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
    """Open the same names over and over, and come back to files that were opened long ago."""
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
            worker.path(name).stat()
        worker.wrong(f"{name} is there")
    except Failed:
        pass


def _finding(worker: Worker) -> None:
    """Let find(1) walk the whole mount; what it could not read it says on its stderr."""
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
        worker.wrong(f"find has seen a name twice: {sorted(found)}")
    strangers = set(found) - {name for name, _ in layout.all_names()}
    if strangers:
        worker.wrong(f"find has seen {sorted(strangers)}")
    missing = {name for name, fate in layout.all_names() if fate is not Fate.COMES_AND_GOES}
    missing -= set(found)
    if missing and not done.stderr:
        worker.wrong(f"find has not seen {sorted(missing)}")
    if done.stderr and any("No such file" not in line for line in done.stderr.splitlines()):
        worker.count("find with errors")
    time.sleep(0.2)


def _compare_listing(worker: Worker, folder: str, found: list[str]) -> None:
    entries = layout.entries_of(folder)
    if len(set(found)) != len(found):
        worker.wrong(f"{folder or 'the root'} shows a name twice: {sorted(found)}")
    sure = {name for name, fate in entries.items() if fate is not Fate.COMES_AND_GOES}
    if not sure <= set(found) <= set(entries):
        worker.wrong(
            f"{folder or 'the root'} lacks {sorted(sure - set(found))}"
            f" or shows {sorted(set(found) - set(entries))}"
        )


KINDS: dict[str, Callable[[Worker], None]] = {
    "sequential": _sequential,
    "random": _at_random,
    "mapped": _mapped,
    "small files": _small_files,
    "reopened": _reopened,
    "listing": _listing,
    "finding": _finding,
}


def main(kind: str, seed: str, root: str, slots: str, number: str) -> None:
    """Use the mount until told to stop."""
    worker = Worker(root, seed, Slots(Path(slots), 0), int(number))
    try:
        while True:
            try:
                KINDS[kind](worker)
                worker.count("rounds")
            except Failed:
                worker.pause()
    except _Stopped:
        worker.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
