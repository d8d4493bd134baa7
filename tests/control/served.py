"""A control server in a temporary directory, and a trio loop in a thread that tests can block."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.control.client import ControlClient
from gcsmux_fs.control.control_server import ControlServer
from gcsmux_fs.control.socket_places import connected, open_directory
from gcsmux_fs.fuse.mountinfo import FSTYPE, MountEntry

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gcsmux_fs.control.control_server import Command

NAME = "0-57.sock"
MOUNT = MountEntry(30, 1, 0, 57, "/", "/mnt/data", FSTYPE, "gs://bucket", os.geteuid())


@contextmanager
def serving(directory: Path, commands: Mapping[str, Command]) -> Iterator[ControlServer]:
    """Serve `commands` during the block."""
    server = ControlServer(commands)
    server.start(directory, NAME)
    try:
        yield server
    finally:
        server.close()


def connect(directory: Path, seconds: float = 20) -> socket.socket:
    with open_directory(directory, {os.geteuid()}) as opened:
        return connected(opened, NAME, seconds)


def client(directory: Path) -> ControlClient:
    return ControlClient(MOUNT, connect(directory))


class LoopThread:
    """A trio loop in a thread. `block` makes the loop hang until `unblock`."""

    def __init__(self) -> None:
        self.nursery: trio.Nursery
        self.token: trio.lowlevel.TrioToken
        self._released = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))

    def __enter__(self) -> LoopThread:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self.token.run_sync_soon(self.nursery.cancel_scope.cancel)
        self._thread.join()

    async def _main(self) -> None:
        async with trio.open_nursery() as self.nursery:
            self.token = trio.lowlevel.current_trio_token()
            self._started.set()
            await trio.sleep_forever()

    def block(self) -> None:
        """Make the loop hang, and return when it hangs."""
        self._released.clear()
        hangs = threading.Event()

        def hang() -> None:
            hangs.set()
            self._released.wait()

        self.token.run_sync_soon(hang)
        hangs.wait()

    def unblock(self) -> None:
        """Let the loop run again, and return after it has run what was queued."""
        self._released.set()
        passed = threading.Event()
        self.token.run_sync_soon(passed.set)
        passed.wait()
