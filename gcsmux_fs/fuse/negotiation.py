"""What the mount agrees on with the kernel, beyond what libfuse lets a file system say.

The kernel's first request, FUSE_INIT, is answered by libfuse alone, and pyfuse3 shows nothing of
the answer. Three of its fields matter:

- FUSE_PARALLEL_DIROPS, which libfuse 3.14 never sets. Without it the kernel asks for the names of
  one directory one at a time: 8 programs that open 8 files there at 50 ms wait for 400 ms, and
  where the service is silent the last of them is told after 8 deadlines.
- `max_background` and `congestion_threshold`, 12 and 9 unless told: how many READs may be under way
  that fill the page cache or serve direct I/O, and above how many the kernel drops the asynchronous
  part of its readahead window. READs beyond the first number wait in the kernel, where no deadline
  of this process sees them: one file whose reads hang would hold up all others. So it is as large
  as the number of requests that this process serves at a time allows (`fuse.requests`), and only
  the second one limits readahead. For a mount of a user who is not root the kernel lowers both to
  its module's parameters `max_user_bgreq` and `max_user_congthresh`, which grow with the memory of
  the machine: some 330 for each GiB. After the mount only root can change them, through sysfs.

So this one answer is led past the kernel. While libfuse processes the request (that is where it
calls `Operations.init`), its descriptor is made to lead into a socket; the answer is read there,
completed and handed to the kernel, and the descriptor leads to the kernel again before there is
anything else to be read from it.

Sources: struct fuse_init_out in linux/fuse.h, process_init_reply in the kernel's fs/fuse/inode.c,
do_init in libfuse's lib/fuse_lowlevel.c.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.fuse.main_loop import MAX_REQUESTS

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["CONGESTION_THRESHOLD", "MAX_BACKGROUND", "Negotiation", "completed", "fuse_descriptors"]

log = logging.getLogger(__name__)

# A quarter of the tasks is left to requests that never wait in the kernel: lookups, single pages.
MAX_BACKGROUND = MAX_REQUESTS * 3 // 4
# mountpoint-s3 measured no gain from more than 64 READs at a time on 2 x 100 Gbit/s; three quarters
# of them is what the kernel takes unless told.
CONGESTION_THRESHOLD = 48

_PARALLEL_DIROPS = 1 << 18

# struct fuse_out_header: length, error, unique.
_HEADER = struct.Struct("=IiQ")
# The fields of struct fuse_init_out that every kernel knows which has FUSE_PARALLEL_DIROPS: major,
# minor, max_readahead, flags, max_background, congestion_threshold.
_INIT_OUT = struct.Struct("=IIIIHH")
# Major numbers are different protocols.
_MAJOR = 7

# The number of /dev/fuse, by whatever path it was opened (Documentation/admin-guide/devices.txt).
_DEVICE = os.makedev(10, 229)
_IN_VAIN = "names of one directory will be asked for one at a time"
# The answer has 80 bytes.
_MAX_ANSWER_BYTES = 4096


def completed(answer: bytes) -> bytes:
    """Return libfuse's answer to FUSE_INIT with the fields set that it leaves out.

    One that is not understood, or that is an error, is returned as it is.
    """
    if len(answer) < _HEADER.size + _INIT_OUT.size:
        return answer
    length, error, _ = _HEADER.unpack_from(answer)
    major, minor, readahead, flags, *_ = _INIT_OUT.unpack_from(answer, _HEADER.size)
    if length != len(answer) or error or major != _MAJOR:
        return answer
    fields = _INIT_OUT.pack(
        major, minor, readahead, flags | _PARALLEL_DIROPS, MAX_BACKGROUND, CONGESTION_THRESHOLD
    )
    rest = _HEADER.size + len(fields)
    return answer[: _HEADER.size] + fields + answer[rest:]


def fuse_descriptors() -> set[int]:
    """Return which descriptors of this process lead to /dev/fuse."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        # The one by which the directory is read is closed by now.
        with suppress(OSError):
            if entry.stat().st_rdev == _DEVICE:
                found.add(int(entry.name))
    return found


class Negotiation:
    """Completes the answer to FUSE_INIT that libfuse writes to `descriptor`, if that is known.

    `divert` is called by libfuse while it processes the request, `run` runs beside pyfuse3. Leaving
    the context lets the descriptor lead to the kernel again in any case.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._diverted = trio.Event()
        self._kernel: int | None = None
        # libfuse's end and ours. pyfuse3 waits for its end to become readable, and that has to be
        # heard after the descriptor leads elsewhere: so it is closed with the mount.
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._lead_back()
        if self._ends is not None:
            for end in self._ends:
                end.close()

    def divert(self) -> None:
        """Let libfuse's next answer come to `run`."""
        if self._descriptor is None:
            log.info("%s: libfuse has not opened /dev/fuse by itself", _IN_VAIN)
            return
        try:
            self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._kernel = os.dup(self._descriptor)
            os.dup2(self._ends[0].fileno(), self._descriptor, inheritable=False)
        except OSError as error:
            # The mount is slower without it, and that is all.
            log.info("%s: %s", _IN_VAIN, error)
            return
        self._diverted.set()

    async def run(self) -> None:
        """Hand the answer on, and lead libfuse back to the kernel."""
        await self._diverted.wait()
        assert self._kernel is not None
        assert self._ends is not None
        _, ours = self._ends
        await trio.lowlevel.wait_readable(ours)
        try:
            os.write(self._kernel, completed(ours.recv(_MAX_ANSWER_BYTES)))
        except OSError as error:
            # It has unmounted meanwhile, as pyfuse3 is about to find out.
            log.debug("the kernel does not take the answer: %s", error)
        # libfuse's read does not return before there is a request: it must find one.
        await trio.lowlevel.wait_readable(self._kernel)
        self._lead_back()
        # pyfuse3 is woken by the end of the socket, and reads from the kernel.
        ours.close()

    def _lead_back(self) -> None:
        if self._kernel is not None:
            assert self._descriptor is not None
            os.dup2(self._kernel, self._descriptor, inheritable=False)
            os.close(self._kernel)
            self._kernel = None
