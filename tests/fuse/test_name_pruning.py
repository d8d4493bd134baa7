"""Tests of the notifications that drop names: their messages, and the errors of the kernel."""

from __future__ import annotations

import errno
import os

import pytest
import trio
import trio.testing

from gcsmux_fs.fuse.name_pruning import (
    EPOCH_MESSAGE,
    REPEAT_SECONDS,
    NamePruner,
    prune_message,
)

DESCRIPTOR = 7


class Device:
    """A fake of /dev/fuse."""

    def __init__(self, error: int = 0) -> None:
        self.error = error
        self.written: list[bytes] = []

    def write(self, descriptor: int, message: bytes) -> int:
        assert descriptor == DESCRIPTOR
        self.written.append(message)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return len(message)


def attached(device: Device) -> NamePruner:
    names = NamePruner(device.write)
    names.attach(DESCRIPTOR)
    return names


def test_the_message_has_the_layout_of_the_kernel() -> None:
    assert prune_message([5, 2**63]) == (
        b"\x30\0\0\0" + b"\x09\0\0\0" + bytes(8)  # length 48, code 9, unique 0
        + b"\x02\0\0\0" + bytes(4) + bytes(8)  # two inodes
        + b"\x05" + bytes(7) + bytes(7) + b"\x80"
    )  # fmt: skip


async def test_a_notification_is_written_at_once_and_repeated_once() -> None:
    device = Device()
    names = attached(device)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        for inode in (5, 6, 5):
            names.drop(inode)
        assert device.written == [prune_message([inode]) for inode in (5, 6, 5)]
        await trio.sleep(REPEAT_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        assert device.written[3:] == [prune_message([5, 6])]
        # Each notification is repeated only once.
        await trio.sleep(1000)
        assert len(device.written) == 4
        names.drop(7)
        await trio.sleep(1)
        assert device.written[4:] == [prune_message([7])] * 2
        nursery.cancel_scope.cancel()


async def test_a_kernel_without_the_notification_gets_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    device = Device(errno.EINVAL)
    names = attached(device)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        for inode in range(10):
            names.drop(inode)
        await trio.sleep(10)
        assert len(device.written) == 1
        assert "--metadata-ttl" in caplog.text
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("error", [errno.ENODEV, errno.ENOTCONN, errno.EBADF, errno.EPERM])
def test_an_error_of_an_ending_mount_is_ignored(error: int) -> None:
    device = Device(error)
    names = attached(device)
    names.drop(5)
    device.error = 0
    names.drop(6)
    assert len(device.written) == 2


def test_nothing_is_written_after_the_descriptor_is_detached() -> None:
    device = Device()
    names = attached(device)
    names.attach(None)
    names.drop(5)
    assert device.written == []


def test_all_names_are_dropped_by_a_header_without_a_body() -> None:
    device = Device()
    assert attached(device).drop_all()
    assert device.written == [EPOCH_MESSAGE] == [b"\x10\0\0\0" + b"\x08\0\0\0" + bytes(8)]


def test_an_older_kernel_gets_the_notification_for_all_names_once() -> None:
    device = Device(errno.EINVAL)
    names = attached(device)
    assert not names.drop_all()
    assert not names.drop_all()
    assert not names.can_drop_all
    assert device.written == [EPOCH_MESSAGE]
