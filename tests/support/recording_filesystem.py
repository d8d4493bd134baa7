"""A FUSE file system that records OPENs, READs and CLOSEs; it serves the files of one folder.

The kernel's protocol is decoded here, because a request in pyfuse3 does not show the thread that
sent the READ. Each READ is answered after a fixed delay, so every READ of the record is cold.

The process mounts the file system, writes `ready` to its standard output, and serves until it gets
SIGTERM. Then it writes the record, as a JSON list, to a file. It never accesses its own mount.

Run as root: `python -m tests.support.recording_filesystem FOLDER MOUNT_POINT RECORD SECONDS`.
"""

from __future__ import annotations

import collections
import ctypes
import errno
import json
import os
import select
import signal
import stat
import struct
import sys
import time
from pathlib import Path
from typing import Any

_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ = 1, 2, 3, 14, 15
_RELEASE, _INIT, _INTERRUPT, _BATCH_FORGET = 18, 26, 36, 42
_UNANSWERED = {_FORGET, _INTERRUPT, _BATCH_FORGET}
_ROOT = 1
_IN_HEADER = struct.Struct("<IIQQIIIHH")
_OUT_HEADER = struct.Struct("<IiQ")
_KEEP_CACHE = 2
_ASYNC_READ, _PARALLEL_DIROPS, _MAX_PAGES = 1 << 0, 1 << 18, 1 << 22
_VALID_SECONDS = 3600
_READ_ONLY_NOSUID_NODEV = 1 | 2 | 4


class RecordingFilesystem:
    """Serves `folder` through the descriptor of /dev/fuse, and records the requests."""

    def __init__(self, folder: Path, device: int, delay_seconds: float) -> None:
        self._device = device
        self._delay = delay_seconds
        self._names = sorted(each.name for each in folder.iterdir() if each.is_file())
        self._backing = {name: os.open(folder / name, os.O_RDONLY) for name in self._names}
        self._sizes = {name: (folder / name).stat().st_size for name in self._names}
        #: Answers to send: (time, unique id, content, entry of the record).
        self._pending: collections.deque[tuple[float, int, bytes, dict[str, Any]]] = (
            collections.deque()
        )
        self._handles: dict[int, str] = {}
        self.record: list[dict[str, Any]] = []
        self.is_ready = False
        self.is_stopping = False

    def serve(self) -> None:
        """Serve requests until `is_stopping` is true or the file system is unmounted."""
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        while not self.is_stopping:
            wait = self._pending[0][0] - time.monotonic() if self._pending else 0.05
            poll.poll(max(0.0, wait) * 1000)
            # All requests that the kernel has sent are recorded before the next answer. So a
            # request counts as sent after an answer only if it was.
            if not self._receive_all():
                return
            if self._pending and self._pending[0][0] <= time.monotonic():
                _, unique, content, entry = self._pending.popleft()
                entry["answered"] = time.monotonic()
                self._answer(unique, content)

    def _receive_all(self) -> bool:
        while True:
            try:
                message = os.read(self._device, 1 << 20)
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return False
                if error.errno not in (errno.EINTR, errno.ENOENT):
                    raise
                continue
            self._handle(message)

    def _answer(self, unique: int, content: bytes = b"", error: int = 0) -> None:
        header = _OUT_HEADER.pack(_OUT_HEADER.size + len(content), -error, unique)
        try:
            os.writev(self._device, [header, content])
        except OSError as failure:
            if failure.errno != errno.ENOENT:  # ENOENT: the program was interrupted
                raise

    def _handle(self, message: bytes) -> None:
        _, opcode, unique, node, _, _, thread, _, _ = _IN_HEADER.unpack_from(message)
        body = message[_IN_HEADER.size :]
        if opcode in _UNANSWERED:
            return
        if opcode == _INIT:
            self._answer(unique, _init_answer(body))
            self.is_ready = True
            print("ready", flush=True)
        elif opcode == _LOOKUP:
            name = body.rstrip(b"\0").decode()
            if name in self._sizes:
                entry = struct.pack("<QQQQII", self._node(name), 0, _VALID_SECONDS, 3600, 0, 0)
                self._answer(unique, entry + self._attributes(self._node(name)))
            else:
                self._answer(unique, error=errno.ENOENT)
        elif opcode == _GETATTR:
            valid = struct.pack("<QII", _VALID_SECONDS, 0, 0)
            self._answer(unique, valid + self._attributes(node))
        elif opcode == _OPEN:
            self._open(unique, node, thread)
        elif opcode == _READ:
            self._read(unique, body, thread)
        elif opcode == _RELEASE:
            (handle,) = struct.unpack_from("<Q", body)
            self.record.append({"kind": "close", "file": handle})
            self._answer(unique)
        else:
            self._answer(unique, error=errno.ENOSYS)

    def _open(self, unique: int, node: int, thread: int) -> None:
        handle = len(self._handles) + 1
        name = self._handles[handle] = self._names[node - _ROOT - 1]
        now = time.monotonic()
        self.record.append(
            {
                "kind": "open",
                "file": handle,
                "object": name,
                "size": self._sizes[name],
                "thread": thread,
                "sent": now,
                "answered": now,
            }
        )
        self._answer(unique, struct.pack("<QIi", handle, _KEEP_CACHE, 0))

    def _read(self, unique: int, body: bytes, thread: int) -> None:
        handle, offset, size = struct.unpack_from("<QQI", body)
        entry = {
            "kind": "read",
            "file": handle,
            "offset": offset,
            "length": size,
            "thread": thread,
            "sent": time.monotonic(),
        }
        self.record.append(entry)
        content = os.pread(self._backing[self._handles[handle]], size, offset)
        self._pending.append((entry["sent"] + self._delay, unique, content, entry))

    def _node(self, name: str) -> int:
        return self._names.index(name) + _ROOT + 1

    def _attributes(self, node: int) -> bytes:
        if node == _ROOT:
            size, mode = 0, stat.S_IFDIR | 0o755
        else:
            size, mode = self._sizes[self._names[node - _ROOT - 1]], stat.S_IFREG | 0o644
        times = (1, 1, 1, 0, 0, 0)
        return struct.pack(
            "<QQQQQQIIIIIIIIII", node, size, -(-size // 512), *times, mode, 1, *[0] * 3, 4096, 0
        )


def _init_answer(body: bytes) -> bytes:
    major, _, max_readahead, _ = struct.unpack_from("<IIII", body)
    flags = _ASYNC_READ | _PARALLEL_DIROPS | _MAX_PAGES
    # The values of gcsmux-fs: READs of at most 1 MiB (256 pages), and the limits of requests in
    # the background.
    return struct.pack(
        "<IIIIHHIIHHI28x", major, 31, max_readahead, flags, 1536, 48, 1 << 17, 1, 256, 0, 0
    )


def main() -> None:
    """Mount, serve until SIGTERM, and write the record."""
    folder, mount_point, record_file = map(Path, sys.argv[1:4])
    device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
    filesystem = RecordingFilesystem(folder, device, float(sys.argv[4]))

    def stop(*_: object) -> None:
        filesystem.is_stopping = True

    signal.signal(signal.SIGTERM, stop)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"recorder", os.fsencode(mount_point), b"fuse", _READ_ONLY_NOSUID_NODEV, options):
        raise OSError(ctypes.get_errno(), "cannot mount the recording file system")
    filesystem.serve()
    record_file.write_text(json.dumps(filesystem.record))


if __name__ == "__main__":
    main()
