"""Tests of the mount's answer to FUSE_INIT, the first request of the kernel."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio
import trio.testing

from gcsmux_fs.emulator.faults import Hang
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.fuse.mountinfo import device_of
from gcsmux_fs.fuse.negotiation import (
    CONGESTION_THRESHOLD,
    MAX_BACKGROUND,
    Negotiation,
    completed,
)
from tests.support import programs
from tests.support.harness import wait_until

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

FILES = 8
CONNECTIONS = Path("/sys/fs/fuse/connections")
PARALLEL_DIROPS = 1 << 18


def answer_to_init(*, error: int = 0, major: int = 7, flags: int = 0x71) -> bytes:
    """Return the answer to FUSE_INIT in the format of libfuse 3.14."""
    fields = struct.pack("=IIIIHHIIHH32x", major, 36, 131072, flags, 0, 0, 1 << 20, 1, 256, 0)
    return struct.pack("=IiQ", 16 + len(fields), error, 2) + fields


def test_missing_init_flags_are_added_and_all_else_is_unchanged() -> None:
    before, after = answer_to_init(), completed(answer_to_init())
    assert struct.unpack_from("=I", after, 28) == (0x71 | PARALLEL_DIROPS,)
    assert struct.unpack_from("=HH", after, 32) == (1536, 48)
    assert after[:28] == before[:28]
    assert after[36:] == before[36:]


@pytest.mark.parametrize(
    "answer",
    [
        answer_to_init(error=-71),
        answer_to_init(major=8),
        answer_to_init()[:-1],
        answer_to_init()[:30],
        b"",
    ],
    ids=["error", "other protocol", "cut", "too short", "empty"],
)
def test_an_unknown_init_answer_is_passed_on_unchanged(answer: bytes) -> None:
    assert completed(answer) == answer


class DevicePair:
    """A socket pair that replaces /dev/fuse. The test holds the kernel's end, libfuse the other."""

    def __init__(self) -> None:
        self.kernel, self.libfuse = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> DevicePair:
        return self

    def __exit__(self, *_: object) -> None:
        self.kernel.close()
        self.libfuse.close()


async def test_a_task_that_waits_for_requests_gets_the_first_one() -> None:
    with DevicePair() as ends, trio.fail_after(10):
        descriptor = ends.libfuse.fileno()

        async def next_request() -> bytes:
            await trio.lowlevel.wait_readable(descriptor)
            return os.read(descriptor, 100)

        with Negotiation(descriptor) as negotiation:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(negotiation.run)
                ends.kernel.send(b"init")
                assert await next_request() == b"init"
                negotiation.divert()
                os.write(descriptor, answer_to_init())
                await trio.lowlevel.wait_readable(ends.kernel)
                assert ends.kernel.recv(100) == completed(answer_to_init())
                nursery.start_soon(_send_later, ends.kernel, b"lookup")
                assert await next_request() == b"lookup"
                os.write(descriptor, b"found")
                assert ends.kernel.recv(100) == b"found"
                ends.kernel.send(b"read")
                assert await next_request() == b"read"


async def _send_later(end: socket.socket, request: bytes) -> None:
    await trio.testing.wait_all_tasks_blocked()
    end.send(request)


async def test_a_cancelled_negotiation_restores_the_descriptor() -> None:
    with DevicePair() as ends:
        descriptor = ends.libfuse.fileno()
        with Negotiation(descriptor) as negotiation:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(negotiation.run)
                negotiation.divert()
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        os.write(descriptor, b"to the kernel")
        assert ends.kernel.recv(100) == b"to the kernel"


async def test_without_free_descriptors_the_answer_reaches_the_kernel_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    with DevicePair() as ends:
        descriptor = ends.libfuse.fileno()
        monkeypatch.setattr(os, "dup", none_left)
        with Negotiation(descriptor) as negotiation:
            negotiation.divert()
            os.write(descriptor, answer_to_init())
            assert ends.kernel.recv(100) == answer_to_init()


@pytest.mark.mount
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the limits of a connection")
def test_the_kernel_gets_the_limits_of_background_requests(mount: NewMount) -> None:
    with mount() as mounted:
        _, minor = device_of(mounted.path)
        if not any(CONNECTIONS.iterdir()):
            subprocess.run(["mount", "-t", "fusectl", "none", CONNECTIONS], check=True)
        connection = CONNECTIONS / str(minor)
        assert int((connection / "max_background").read_text()) == MAX_BACKGROUND
        assert int((connection / "congestion_threshold").read_text()) == CONGESTION_THRESHOLD


@pytest.mark.mount
def test_names_of_one_directory_are_looked_up_concurrently(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for tag in range(FILES):
        emulator.place(f"dir/file-{tag}", programs.tagged(tag, 0, 100))
    # Without a TTL, no listing in the background answers lookups.
    options = ("--read-timeout", "8s", "--metadata-ttl", "0")
    with mount(*options) as mounted, mounted.program() as program:
        program.call(os.stat, f"{mounted.path}/dir")
        emulator.statistics(reset=True)
        emulator.inject(Rule(Hang(), method="ListObjects", object="dir/file-*", times=FOR_EVER))
        paths = [f"{mounted.path}/dir/file-{tag}" for tag in range(FILES)]
        program.begin(programs.in_parallel, programs.read_head, paths, 10)
        # The emulator answers no lookup. If a lookup waited for another lookup, it would never
        # reach the emulator.
        wait_until(
            lambda: emulator.statistics().faults.get("hang") == FILES,
            "all lookups reach the emulator",
        )
        emulator.clear_faults()
        assert program.answer() == FILES * 10
