"""Changes libfuse's answer to FUSE_INIT: settings that a file system cannot choose by libfuse.

libfuse alone answers FUSE_INIT, the kernel's first request, and pyfuse3 does not show the answer.
This module changes three fields of the answer:

- The flag FUSE_PARALLEL_DIROPS, which libfuse 3.14 never sets. Without it the kernel looks up the
  names of one directory one after the other. Eight programs that open eight files of a directory,
  50 ms each, then wait for 400 ms. If the service does not answer, the last program waits for eight
  deadlines.
- `max_background` (default 12): the limit of READs in flight that fill the page cache or serve
  direct I/O. READs beyond this limit wait in the kernel, where no deadline of this process applies,
  so a file whose READs hang would stop all other files. The limit is therefore as high as
  `MAX_REQUESTS` in `main_loop` allows.
- `congestion_threshold` (default 9): with more READs in flight, the kernel drops the asynchronous
  part of its readahead. This field must limit readahead, because `max_background` is now too high
  to limit it.

For a mount by a user who is not root, the kernel lowers both numbers to its module parameters
`max_user_bgreq` and `max_user_congthresh`, about 330 for each GiB of memory. After the mount only
root can change the numbers, through sysfs.

How the answer is changed: libfuse calls `Operations.init` while it processes FUSE_INIT. At that
moment libfuse's descriptor of /dev/fuse is redirected into a socket. The answer is read from the
socket, changed, and written to the kernel. The descriptor is then redirected to the kernel again,
before the next request.

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

MAX_BACKGROUND = MAX_REQUESTS * 3 // 4
"""The value of `max_background`: the limit of READs in flight. A quarter of the tasks stays free
for requests to which this limit does not apply: lookups and READs of single pages."""

CONGESTION_THRESHOLD = 48
"""With more READs in flight, the kernel drops readahead. The value is three quarters of 64, because
the project mountpoint-s3 measured no gain from more than 64 READs on 2 x 100 Gbit/s, and because
the kernel's default threshold is three quarters of `max_background`."""

_PARALLEL_DIROPS = 1 << 18

# struct fuse_out_header: length, error, unique.
_HEADER = struct.Struct("=IiQ")
# The first fields of struct fuse_init_out: major, minor, max_readahead, flags, max_background,
# congestion_threshold. Each kernel with FUSE_PARALLEL_DIROPS has these fields.
_INIT_OUT = struct.Struct("=IIIIHH")
# The major version of the FUSE protocol. In another major version, the answer has another
# layout.
_MAJOR = 7

# The device number of /dev/fuse (Documentation/admin-guide/devices.txt in the kernel).
_DEVICE = os.makedev(10, 229)
_WITHOUT_EFFECT = "the kernel will look names of one directory up one after the other"
# Size of the buffer for libfuse's answer to FUSE_INIT. The answer has 80 bytes.
_MAX_ANSWER_BYTES = 4096


def completed(answer: bytes) -> bytes:
    """Return libfuse's answer to FUSE_INIT with the three changes that this module describes.

    An answer that reports an error, or has another protocol version, is returned unchanged.
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
    """Return the descriptors of this process that are open on /dev/fuse."""
    descriptors = set()
    for entry in Path("/proc/self/fd").iterdir():
        # The list also names the descriptor that iterdir() used, which is closed already.
        with suppress(OSError):
            if entry.stat().st_rdev == _DEVICE:
                descriptors.add(int(entry.name))
    return descriptors


class Negotiation:
    """Changes the answer to FUSE_INIT that libfuse writes to `descriptor`.

    If `descriptor` is None, nothing is changed.

    libfuse calls `divert` while it processes FUSE_INIT. `run` is a task beside the main loop. The
    exit of the context redirects the descriptor to the kernel in any case.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._diverted = trio.Event()
        self._kernel: int | None = None
        # libfuse's end of the socket, and this object's end. pyfuse3 waits until libfuse's end is
        # readable, also after the redirection has ended. So libfuse's end stays open until the
        # mount ends.
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._restore()
        if self._ends is not None:
            for end in self._ends:
                end.close()

    def divert(self) -> None:
        """Redirect libfuse's next answer to `run`."""
        if self._descriptor is None:
            log.info("%s: the mount has no descriptor of /dev/fuse", _WITHOUT_EFFECT)
            return
        try:
            self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._kernel = os.dup(self._descriptor)
            os.dup2(self._ends[0].fileno(), self._descriptor, inheritable=False)
        except OSError as error:
            # The mount works without the changed fields, but some lookups take longer.
            log.info("%s: %s", _WITHOUT_EFFECT, error)
            return
        self._diverted.set()

    async def run(self) -> None:
        """Pass the changed answer on to the kernel, then redirect libfuse to the kernel again."""
        await self._diverted.wait()
        assert self._kernel is not None
        assert self._ends is not None
        _, receiver = self._ends
        await trio.lowlevel.wait_readable(receiver)
        try:
            os.write(self._kernel, completed(receiver.recv(_MAX_ANSWER_BYTES)))
        except OSError as error:
            # The mount has been removed meanwhile, and pyfuse3 ends with its next read.
            log.debug("the kernel refused the answer to FUSE_INIT: %s", error)
        # Wait for a request here, because libfuse's read would block until a request comes.
        await trio.lowlevel.wait_readable(self._kernel)
        self._restore()
        # The closed socket wakes pyfuse3, which then reads from the kernel.
        receiver.close()

    def _restore(self) -> None:
        if self._kernel is not None:
            assert self._descriptor is not None
            os.dup2(self._kernel, self._descriptor, inheritable=False)
            os.close(self._kernel)
            self._kernel = None
