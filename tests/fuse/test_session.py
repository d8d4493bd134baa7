"""Tests of the end of a mount, with a fake of pyfuse3: the order of drain, unmount and close."""

from __future__ import annotations

import errno
import signal
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio

from gcsmux_fs.fuse import session
from gcsmux_fs.fuse.attributes import FOREVER_SECONDS
from gcsmux_fs.fuse.mountinfo import FSTYPE, MountEntry
from gcsmux_fs.fuse.name_pruning import UNDROPPABLE_NAME_SECONDS, NamePruner
from gcsmux_fs.fuse.session import DRAIN_SECONDS, serve_kernel
from gcsmux_fs.fuse.start_lock import Claim
from gcsmux_fs.model.errors import MountLost
from gcsmux_fs.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


@pytest.fixture(autouse=True)
def hangup_signal() -> Iterator[None]:
    """Give SIGHUP its default effect, because nohup(1) makes all programs ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class EndingMount:
    """Fakes of the file system, the reporter and the mount. `events` lists their calls."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.drain_takes_seconds = 0.0

    def stopping(self, reason: str = "") -> None:
        self.events.append("announce stopping")

    def stopped(self) -> None:
        self.events.append("announce stopped")

    def reloading(self) -> None:
        self.events.append("announce reloading")

    def reloaded(self) -> None:
        self.events.append("announce reloaded")

    async def reload(self) -> None:
        self.events.append("reload")

    async def drain(self, seconds: float) -> bool:
        assert seconds == DRAIN_SECONDS
        self.events.append("drain")
        with trio.move_on_after(seconds):
            await trio.sleep(self.drain_takes_seconds)
        return self.drain_takes_seconds < seconds

    def close(self) -> None:
        self.events.append("close")

    async def run(self) -> None:
        """Replace the negotiation of FUSE_INIT, which a fake mount does not need."""

    @contextmanager
    def mounted(self, *_: object) -> Iterator[EndingMount]:
        self.events.append("mount")
        try:
            yield self
        finally:
            self.events.append("unmount")


async def serve(
    monkeypatch: pytest.MonkeyPatch,
    mount: EndingMount,
    main_loop: Callable[[], Awaitable[None]],
    *,
    with_terminal: bool = True,
) -> None:
    async def answer_requests(_: Path) -> None:
        try:
            await main_loop()
        finally:
            mount.events.append("main loop ends")

    async def announce(*_: object) -> None:
        """Do not announce the mount as ready, because a fake mount cannot answer."""

    monkeypatch.setattr(session, "_mounted", mount.mounted)
    monkeypatch.setattr(session, "answer_requests", answer_requests)
    monkeypatch.setattr(session, "_announce", announce)
    fake: Any = mount
    settings = Settings(bucket="bucket", mountpoint=Path("/mnt"), foreground=True)
    monkeypatch.setattr(session, "has_terminal", lambda: with_terminal)
    await serve_kernel(settings, fake, fake, fake, fake, fake, lambda: None, mount.reload)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("drain_takes_seconds", [0.0, 60.0])
async def test_after_a_signal_requests_are_drained_before_the_loop_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, drain_takes_seconds: float
) -> None:
    mount = EndingMount()
    mount.drain_takes_seconds = drain_takes_seconds
    began = trio.current_time()

    async def main_loop() -> None:
        signal.raise_signal(number)
        await trio.sleep_forever()

    await serve(monkeypatch, mount, main_loop)
    assert mount.events == [
        "mount",
        "announce stopping",
        "drain",
        "main loop ends",
        "unmount",
        "close",
        "announce stopped",
    ]
    expected = min(drain_takes_seconds, DRAIN_SECONDS)
    assert trio.current_time() - began == pytest.approx(expected)


async def test_after_an_unmount_by_the_kernel_nothing_is_drained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount = EndingMount()
    await serve(monkeypatch, mount, trio.lowlevel.checkpoint)
    assert mount.events == ["mount", "main loop ends", "unmount", "close", "announce stopped"]


async def test_sighup_reloads_a_mount_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount = EndingMount()

    async def main_loop() -> None:
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(1)

    await serve(monkeypatch, mount, main_loop, with_terminal=False)
    assert mount.events == [
        "mount",
        "announce reloading",
        "reload",
        "announce reloaded",
        "main loop ends",
        "unmount",
        "close",
        "announce stopped",
    ]


@pytest.mark.expects_log("the reload failed")
async def test_a_reload_that_fails_does_not_end_the_mount(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mount = EndingMount()

    async def fail() -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    async def main_loop() -> None:
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(1)

    monkeypatch.setattr(mount, "reload", fail)
    await serve(monkeypatch, mount, main_loop, with_terminal=False)
    assert mount.events[1:3] == ["announce reloading", "announce reloaded"]
    assert "the reload failed" in caplog.text


async def test_nohup_makes_a_mount_in_a_terminal_ignore_sighup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount = EndingMount()

    async def main_loop() -> None:
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(1)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        await serve(monkeypatch, mount, main_loop)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert mount.events == ["mount", "main loop ends", "unmount", "close", "announce stopped"]


async def test_after_a_failure_the_mount_is_removed_and_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount = EndingMount()

    async def main_loop() -> NoReturn:
        raise MountLost("another process aborted the connection")

    with pytest.raises(ExceptionGroup) as raised:
        await serve(monkeypatch, mount, main_loop)
    assert raised.group_contains(MountLost)
    assert mount.events == ["mount", "main loop ends", "unmount", "close"]


@pytest.mark.parametrize(
    ("error", "max_name_seconds"), [(0, FOREVER_SECONDS), (errno.EINVAL, UNDROPPABLE_NAME_SECONDS)]
)
def test_a_kernel_that_cannot_drop_names_caches_them_for_a_minute(
    monkeypatch: pytest.MonkeyPatch, error: int, max_name_seconds: float
) -> None:
    fake: Any = SimpleNamespace(divert=None, close=lambda: None, choose=None)
    initialised: list[Any] = []
    fake_library: Any = SimpleNamespace(
        init=lambda operations, *_: initialised.append(operations), close=lambda unmount: None
    )
    descriptors = iter([frozenset(), frozenset({7})])
    monkeypatch.setattr(session, "pyfuse3", fake_library)
    monkeypatch.setattr(session, "fuse_descriptors", lambda: next(descriptors))
    monkeypatch.setattr(session, "Negotiation", lambda _: nullcontext(fake))

    def write(_: int, message: bytes) -> int:
        if error:
            raise OSError(error, "refused")
        return len(message)

    settings = Settings(bucket="bucket", mountpoint=Path("/mnt"))
    operations: Any = SimpleNamespace(max_name_seconds=FOREVER_SECONDS)
    monkeypatch.setattr(session, "BucketOperations", lambda _: operations)
    claim = Claim(settings.mountpoint, None)
    with session._mounted(settings, claim, fake, NamePruner(write), fake):
        assert initialised == [operations]
        assert operations.max_name_seconds == max_name_seconds


def entry(mount_id: int, fstype: str) -> MountEntry:
    return MountEntry(mount_id, 1, 0, 40 + mount_id, "/", "/mnt", fstype, "bucket", 0)


OURS, AUTOFS, ANOTHER = entry(7, FSTYPE), entry(6, "autofs"), entry(9, FSTYPE)


@pytest.mark.parametrize(
    ("table", "place", "calls"),
    [
        ((OURS,), "/mnt", ["close unmount=True"]),
        ((OURS,), "/private", ["unmount /mnt", "close unmount=False"]),
        ((), "/mnt", ["close unmount=False"]),
        ((), "/private", ["close unmount=False"]),
        ((AUTOFS,), "/mnt", ["close unmount=False"]),
        ((ANOTHER,), "/mnt", ["close unmount=False"]),
        ((ANOTHER,), "/private", ["close unmount=False"]),
    ],
)
def test_the_end_of_a_mount_removes_no_other_mount(
    monkeypatch: pytest.MonkeyPatch, table: tuple[MountEntry, ...], place: str, calls: list[str]
) -> None:
    done: list[str] = []
    monkeypatch.setattr(session, "mount_table", lambda: table)
    monkeypatch.setattr(session, "unmount", lambda path: done.append(f"unmount {path}"))
    monkeypatch.setattr("pyfuse3.close", lambda *, unmount: done.append(f"close unmount={unmount}"))
    session._unmount(Path("/mnt"), Path(place), OURS)
    assert done == calls
