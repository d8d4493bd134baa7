"""Calls on the mount as programs make them, each timed, counted, and checked in what it gives."""

from __future__ import annotations

import errno
import json
import os
import random
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.read_methods import WAYS

from . import layout
from .content import Identity, OpenContent, WrongBytes
from .layout import Fate, fate_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from .slots import Slots

__all__ = ["Failed", "OpenFile", "Stopped", "Worker"]

_REPORT_SECONDS = 1.0
_GENERATION = "user.gcs.generation"


class Failed(Exception):
    """An operation has failed with an errno; it has been reported."""


class Stopped(Exception):
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
    def doing(
        self,
        operation: str,
        name: str,
        *,
        since: float | None = None,
        may_be_absent: bool = False,
    ) -> Iterator[None]:
        """Do one thing to the mount, within its time, and report how it fails.

        `since` is when the file was looked up that it uses; None: it is looked up now.

        Raises:
            Failed: it has failed.
        """
        if self._slots.stopping:
            raise Stopped
        if time.monotonic() > self._reported + _REPORT_SECONDS:
            self.flush()
        error: OSError | None = None
        with self._slot.doing(f"{operation} {name}", since) as begun:
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
                since=begun if since is None else since,
            )
        raise Failed from None

    # -- what programs do

    def path(self, name: str) -> Path:
        """Return where an object is seen."""
        return self.root / name

    def open(self, name: str) -> OpenFile:
        """Open a file; its bytes are checked as long as it is open."""
        absent = fate_of(name) is Fate.COMES_AND_GOES
        asked = time.monotonic()
        with self.doing("open", name, may_be_absent=absent):
            descriptor = os.open(self.path(name), os.O_RDONLY)
            size = os.fstat(descriptor).st_size
        return OpenFile(self, name, descriptor, size, asked)

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
            [
                *(layout.LARGE, layout.MEDIUM, layout.SMALL),
                *(layout.CHANGING, layout.CHURNING, layout.GROWING),
            ]
        )
        return self.random.choice(group.names)

    def pause(self) -> None:
        """Let the others have the processor for a moment."""
        time.sleep(self.random.uniform(0.0005, 0.008))


class OpenFile:
    """A file of the mount; reads of it are checked."""

    def __init__(self, worker: Worker, name: str, descriptor: int, size: int, asked: float) -> None:
        self._worker = worker
        self._asked = asked
        self._told = time.monotonic()
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
        if fate_of(self.name) is Fate.GROWS:
            self._tell_state(identity)
            return
        if identity is None:
            return
        if fate_of(self.name) is Fate.STAYS and identity != Identity(self.name, 1):
            self._worker.wrong(f"{self.name}, which nobody has changed, is {identity}")
        if self._generation:
            self._worker.identified(self.name, self._generation, identity, self.size)

    def _tell_state(self, identity: Identity | None) -> None:
        """Report which size of an object that grows it was."""
        if identity is not None and identity.shift:
            self._worker.wrong(f"{self.name}, which is only appended to, is {identity}")
        version = None if identity is None else identity.version
        self._worker.tell(
            seen=self.name,
            version=version,
            size=self.size,
            asked=self._asked,
            told=self._told,
        )

    def forget_pages(self) -> None:
        """Have the next read reach the mount, as far as the kernel lets the pages go."""
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def somewhere(self) -> int:
        """Return an offset within it, if it has any byte."""
        return self._worker.random.randrange(max(1, self.size))

    def ask_generation(self) -> None:
        """Learn the generation that is open."""
        with self.doing("getxattr"):
            self._generation = int(os.getxattr(self.descriptor, _GENERATION))

    def check_size(self) -> None:
        """Look whether it is still as long as it was when it was opened."""
        with self.doing("fstat"):
            size = os.fstat(self.descriptor).st_size
        if size != self.size:
            self._worker.wrong(f"{self.name} has {size} bytes, and had {self.size} when opened")

    def doing(self, operation: str) -> AbstractContextManager[None]:
        """Do one thing to this file (see `Worker.doing`)."""
        return self._worker.doing(operation, self.name, since=self._asked)

    def read(self, operation: str, offset: int, size: int, *, way: str = "pread") -> None:
        """Read in one of the ways, and check."""
        end = min(offset + size, self.size)
        while True:
            with self.doing(operation):
                found = WAYS[way](self.descriptor, offset, size)
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
