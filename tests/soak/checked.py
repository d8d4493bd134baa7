"""Calls to the mount. Each call is timed and counted, and its result is checked."""

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
# Time after which the message about a change must have arrived. A stalled connection is open again
# after 2 s, and a stream that was cut is opened again after at most 5 s.
_ORDER_SECONDS = 10.0
_GENERATION = "user.gcs.generation"


class Failed(Exception):
    """An operation failed with an errno. The worker has already reported the errno."""


class Stopped(Exception):
    """The soak has asked this program to stop."""


class Worker:
    """A program of the soak: it calls the mount, counts the calls, and reports errors."""

    def __init__(self, root: str, seed: str, slots: Slots, number: int) -> None:
        self.root = Path(root)
        self.random = random.Random(seed)
        self._slots = slots
        self._slot = slots.slot(number)
        self._counts: Counter[str] = Counter()
        self._longest: dict[str, float] = {}
        self._reported = time.monotonic()
        self._reported_generations: set[tuple[str, int]] = set()
        # The newest generation of each name, and when this program saw it first.
        self._newest_generations: dict[str, tuple[int, float]] = {}

    # -- reporting

    def tell(self, **what: object) -> None:
        """Print `what` as one JSON line, which the soak reads."""
        print(json.dumps(what), flush=True)

    def wrong(self, text: str) -> None:
        """Report a wrong result, which no fault excuses."""
        self.tell(wrong=text)

    def flush(self) -> None:
        """Report the counts and the durations of the longest calls since the last report."""
        self.tell(counts=self._counts, longest=self._longest)
        self._counts.clear()
        self._longest.clear()
        self._reported = time.monotonic()

    def count(self, what: str, number: int = 1) -> None:
        """Add `number` to the counter `what`."""
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
        """Run the block as one operation on the mount: time it, count it, and report its error.

        `since` is the time at which the file of the operation was looked up; None means now. With
        `may_be_absent`, ENOENT is not reported, but still raises Failed.

        Raises:
            Failed: the operation failed with an errno.
            Stopped: the soak has asked this program to stop, so the block has not run.
        """
        if self._slots.stopping:
            raise Stopped
        if time.monotonic() > self._reported + _REPORT_SECONDS:
            self.flush()
        error: OSError | None = None
        with self._slot.doing(f"{operation} {name}", since) as started_at:
            try:
                yield
            except OSError as caught:
                error = caught
        ended_at = time.monotonic()
        self._counts[operation] += 1
        self._longest[operation] = max(self._longest.get(operation, 0.0), ended_at - started_at)
        if error is None:
            return
        if not (may_be_absent and error.errno == errno.ENOENT):
            self.tell(
                failed=operation,
                name=name,
                errno=errno.errorcode.get(error.errno or 0, str(error)),
                started_at=started_at,
                ended_at=ended_at,
                since=started_at if since is None else since,
            )
        raise Failed from None

    # -- what programs do

    def path(self, name: str) -> Path:
        """Return the path of an object on the mount."""
        return self.root / name

    def open(self, name: str) -> OpenFile:
        """Open a file of the mount. All bytes read from the returned file are checked."""
        absent = fate_of(name) is Fate.COMES_AND_GOES
        requested_at = time.monotonic()
        with self.doing("open", name, may_be_absent=absent):
            descriptor = os.open(self.path(name), os.O_RDONLY)
            size = os.fstat(descriptor).st_size
        return OpenFile(self, name, descriptor, size, requested_at)

    def check_order(self, name: str, generation: int) -> None:
        """Report a generation that is older than one that this program has seen before.

        While a connection stalls, an older answer may arrive after a newer one. This is right until
        the message about the change arrives.
        """
        now = time.monotonic()
        newest, seen_at = self._newest_generations.get(name, (0, now))
        if generation < newest and now > seen_at + _ORDER_SECONDS:
            self.wrong(f"{name} shows generation {generation} after generation {newest}")
        if generation > newest:
            self._newest_generations[name] = generation, now
        self.count("generations in order")

    def identified(self, name: str, generation: int, identity: Identity, size: int) -> None:
        """Report which content a generation of an object has, once for each generation."""
        if (name, generation) not in self._reported_generations:
            self._reported_generations.add((name, generation))
            self.tell(
                generation=generation,
                name=name,
                version=identity.version,
                shift=identity.shift,
                size=size,
            )

    def list(self, folder: str) -> list[str]:
        """Return the names in a directory."""
        with self.doing("list", folder):
            return [path.name for path in self.path(folder).iterdir()]

    def any_name(self) -> str:
        """Return the name of a random object; each group of objects is equally likely."""
        group = self.random.choice(
            [
                *(layout.LARGE, layout.MEDIUM, layout.SMALL),
                *(layout.CHANGING, layout.CHURNING, layout.GROWING),
            ]
        )
        return self.random.choice(group.names)

    def pause(self) -> None:
        """Sleep for a random time of at most 8 milliseconds."""
        time.sleep(self.random.uniform(0.0005, 0.008))


class OpenFile:
    """An open file of the mount, which checks the bytes of each read."""

    def __init__(
        self, worker: Worker, name: str, descriptor: int, size: int, requested_at: float
    ) -> None:
        self._worker = worker
        self._requested_at = requested_at
        self._answered_at = time.monotonic()
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
        """Close the file and report which content its bytes belong to."""
        os.close(self.descriptor)
        identity = self._content.identity
        if fate_of(self.name) is Fate.GROWS:
            self._tell_state(identity)
            return
        if identity is None:
            return
        if fate_of(self.name) is Fate.STAYS and identity != Identity(self.name, 1):
            self._worker.wrong(
                f"{self.name} has the content of {identity}, but no writer changes this object"
            )
        if self._generation:
            self._worker.identified(self.name, self._generation, identity, self.size)

    def _tell_state(self, identity: Identity | None) -> None:
        """Report the latest size and version of a growing object, as this reader has seen them."""
        if identity is not None and identity.shift:
            self._worker.wrong(
                f"{self.name} has the content of {identity}, but no fault overwrites this object"
            )
        version = None if identity is None else identity.version
        self._worker.tell(
            seen=self.name,
            version=version,
            size=self.size,
            requested_at=self._requested_at,
            answered_at=self._answered_at,
        )

    def forget_pages(self) -> None:
        """Drop the file's pages from the page cache, so that the next read reaches the mount."""
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def somewhere(self) -> int:
        """Return a random offset in the file; 0 if the file is empty."""
        return self._worker.random.randrange(max(1, self.size))

    def ask_generation(self) -> None:
        """Read the generation of the open file from its extended attribute, and store it."""
        with self.doing("getxattr"):
            self._generation = int(os.getxattr(self.descriptor, _GENERATION))

    def check_order(self) -> None:
        """Check the stored generation (see `Worker.check_order`)."""
        self._worker.check_order(self.name, self._generation)

    def check_size(self) -> None:
        """Check that the file has the same size as when it was opened."""
        with self.doing("fstat"):
            size = os.fstat(self.descriptor).st_size
        if size != self.size:
            self._worker.wrong(
                f"{self.name} changed its size from {self.size} to {size} bytes while it was open"
            )

    def doing(self, operation: str) -> AbstractContextManager[None]:
        """Run the block as one operation on this file (see `Worker.doing`)."""
        return self._worker.doing(operation, self.name, since=self._requested_at)

    def read(self, operation: str, offset: int, size: int, *, way: str = "pread") -> None:
        """Read `size` bytes at `offset` by the read method `way`, and check the bytes."""
        end = min(offset + size, self.size)
        while True:
            with self.doing(operation):
                found = WAYS[way](self.descriptor, offset, size)
            # If an error occurs after some bytes, the kernel returns only these bytes, and the next
            # call fails with the error. So after too few bytes, the loop reads the rest.
            whole = offset + len(found) >= end or not found
            self.check(offset, size if whole else len(found), found)
            if whole:
                return
            offset += len(found)
            size -= len(found)

    def check(self, offset: int, size: int, found: bytes) -> None:
        """Compare the bytes that one read returned with the expected bytes; report wrong bytes."""
        self._worker.count("bytes", len(found))
        before = self._content.compared_bytes
        try:
            self._content.check(offset, size, found)
        except WrongBytes as error:
            self._worker.wrong(str(error))
        self._worker.count("bytes compared", self._content.compared_bytes - before)
