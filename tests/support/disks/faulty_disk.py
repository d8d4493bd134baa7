"""A disk whose faults a test controls: it can fail, hang, be slow, be read-only or be full.

The disk is a FUSE file system in its own process. A thread in an operation that hangs is in state D
like a thread that waits for a broken disk, and even SIGKILL does not end it. So use the disk in a
`with` statement: its end lets all operations go on.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from .disk_faults import READING, WRITING, DiskFault

if TYPE_CHECKING:
    from .server import Order, State

__all__ = ["EVERYTHING", "FaultyDisk"]

EVERYTHING = READING | WRITING

_ROOT = Path(__file__).parents[3]
_ANSWER_SECONDS = 20


@dataclass
class FaultyDisk:
    """A disk that is mounted at `folder/disk`. Its content is in the directory `folder/behind`.

    If `cached` is true, the kernel keeps pages and names, as for a local disk. Otherwise each call
    of a program reaches the disk, and so meets its faults.
    """

    folder: Path
    cached: bool = False
    capacity_bytes: int = 0
    _process: subprocess.Popen[bytes] = field(init=False)
    _connection: Connection = field(init=False)

    @property
    def path(self) -> Path:
        return self.folder / "disk"

    @property
    def behind(self) -> Path:
        """The directory with the content. A test may use it at any time: it has no faults."""
        return self.folder / "behind"

    def __enter__(self) -> Self:
        for directory in (self.path, self.behind):
            directory.mkdir(parents=True, exist_ok=True)
        self._connection, other_end = Pipe()
        with other_end:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.support.disks.server"),
                    *(str(other_end.fileno()), os.fspath(self.behind), os.fspath(self.path)),
                    "cached" if self.cached else "direct",
                ],
                cwd=_ROOT,
                pass_fds=[other_end.fileno()],
            )
        try:
            self._receive()
            if self.capacity_bytes:
                self.limit(self.capacity_bytes)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        try:
            self._process.wait(_ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            # Its end closes /dev/fuse, so all operations of the disk fail.
            self._process.kill()
            self._process.wait(_ANSWER_SECONDS)
            raise AssertionError("the process of the disk did not end") from None
        finally:
            unmount = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
            subprocess.run([*unmount, self.path], capture_output=True, check=False)

    # -- faults

    def meet(self, *faults: DiskFault) -> None:
        """Replace all faults. Operations that hang because of an earlier fault go on."""
        self._order((faults, None, None))

    def fail(self, operations: frozenset[str] = EVERYTHING, number: int = errno.EIO) -> None:
        """Let operations fail with an errno."""
        self.meet(DiskFault(operations, errno=number))

    def hang(self, operations: frozenset[str] = EVERYTHING) -> None:
        """Let operations hang until the next call that replaces the faults."""
        self.meet(DiskFault(operations, hangs=True))

    def slow_down(self, seconds: float, operations: frozenset[str] = EVERYTHING) -> None:
        """Let each operation take `seconds` longer."""
        self.meet(DiskFault(operations, seconds=seconds))

    def heal(self) -> None:
        """Remove all faults. Operations that hang go on."""
        self.meet()

    def limit(self, capacity_bytes: int, full_errno: int = errno.ENOSPC) -> None:
        """Limit the allocated bytes of all files; 0 removes the limit."""
        self._order((None, capacity_bytes, full_errno))

    # -- what happened

    def operations(self) -> dict[str, int]:
        """Return how many operations of each kind have reached the disk."""
        return self._order((None, None, None))[0]

    def met(self) -> dict[str, int]:
        """Return how many operations of each kind have met a fault."""
        return self._order((None, None, None))[1]

    def waiting(self) -> int:
        """Return the number of operations that hang or are delayed now."""
        return self._order((None, None, None))[2]

    def _order(self, order: Order) -> State:
        self._connection.send(order)
        return cast("State", self._receive())

    def _receive(self) -> object:
        if not self._connection.poll(_ANSWER_SECONDS):
            raise AssertionError("the process of the disk does not answer")
        return self._connection.recv()
