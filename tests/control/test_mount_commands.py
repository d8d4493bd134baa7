"""Tests of the commands of a mount while its event loop runs, is blocked, and ends."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel

from gcsmux_fs.control.loop_calls import LoopCalls
from gcsmux_fs.control.mount_commands import MountCommands, MountFacts
from gcsmux_fs.control.protocol import CommandFailed, ErrorCode
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.process.heartbeats import BLOCKED_SECONDS, TRIO_LOOP, Heartbeats
from gcsmux_fs.process.logs import MOUNT_LOGGERS, log_level, set_log_level
from tests.control.served import LoopThread, client, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gcsmux_fs.control.mount_commands import Warming
    from gcsmux_fs.control.protocol import Json


@dataclass
class Stream:
    object: str


class FakeWarming:
    """A fake of a warm-up, which finds one file and waits until it may fetch the file."""

    def __init__(self) -> None:
        self.fits = True
        self.fetched = False
        self.cancelled = threading.Event()
        self.may_end = True

    def counts(self) -> Json:
        return {"files": 1, "failures": ["a"]}

    async def find(self, paths: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()

    async def fetch(self) -> None:
        try:
            if not self.may_end:
                await trio.sleep_forever()
            self.fetched = True
        except trio.Cancelled:
            self.cancelled.set()
            raise


class Mount:
    """The commands of a mount whose loop is `loop`, and whose clock stands still."""

    def __init__(self, loop: LoopThread) -> None:
        self.now = 100.0
        self.reloads = 0
        self.warming = FakeWarming()
        heartbeats = Heartbeats(lambda: self.now)
        registry = Registry()
        registry.counter("reads", "reads", "All READs.", lambda: 7)
        calls = trio.from_thread.run_sync(
            lambda: LoopCalls(
                loop.nursery, lambda: heartbeats.ages_seconds()[TRIO_LOOP], wait_seconds=0.05
            ),
            trio_token=loop.token,
        )
        self.calls = calls
        self.commands = MountCommands(
            MountFacts("gs://bucket", "/mnt/data", 0.0, time.monotonic()),
            registry,
            calls,
            heartbeats,
            streams=lambda: [Stream("file")],
            config=lambda: {"settings": [], "adaptations": []},
            actions=self,
        )

    async def forget(self, paths: Sequence[str]) -> Json:
        await trio.lowlevel.checkpoint()
        return {"paths": list(paths)}

    def warm(self) -> Warming:
        return self.warming

    async def reload(self) -> str:
        await trio.lowlevel.checkpoint()
        self.reloads += 1
        return "reloaded."


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    with LoopThread() as running:
        yield running


def test_a_mount_answers_while_its_loop_is_blocked(loop: LoopThread, tmp_path: Path) -> None:
    mount = Mount(loop)
    with serving(tmp_path, mount.commands.table()):
        with client(tmp_path) as asked:
            assert asked.ask("status")["healthy"]
        loop.block()
        mount.now += BLOCKED_SECONDS + 37
        for command in ("status", "stats", "config", "streams"):
            with client(tmp_path) as asked:
                answer = asked.ask(command)
            assert not answer["healthy"]
            assert answer["loop_ages_seconds"][TRIO_LOOP] == BLOCKED_SECONDS + 37
            assert answer["source"] == "gs://bucket"
        assert answer["streams"] == [{"object": "file"}]
        with client(tmp_path) as asked:
            (metric,) = asked.ask("stats")["metrics"]
        assert metric["name"] == "reads"
        assert metric["values"] == [{"labels": {}, "value": 7}]


def test_a_command_that_acts_says_that_the_loop_is_blocked_and_never_acts_later(
    loop: LoopThread, tmp_path: Path
) -> None:
    mount = Mount(loop)
    with serving(tmp_path, mount.commands.table()):
        loop.block()
        mount.now += 12
        with (
            client(tmp_path) as asked,
            pytest.raises(CommandFailed, match="has not run for 12 s: nothing was") as raised,
        ):
            asked.ask("reload")
        assert raised.value.code is ErrorCode.BLOCKED
        loop.unblock()
        assert mount.reloads == 0
        with client(tmp_path) as asked:
            assert asked.ask("reload") == {"message": "reloaded."}
        assert mount.reloads == 1


@pytest.fixture
def info_level() -> Iterator[None]:
    """The log level of the mount is info; afterwards it is as it was before."""
    before = {name: logging.getLogger(name).level for name in MOUNT_LOGGERS}
    set_log_level("info")
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("info_level")
def test_the_log_level_changes_without_the_loop(loop: LoopThread, tmp_path: Path) -> None:
    mount = Mount(loop)
    with serving(tmp_path, mount.commands.table()):
        loop.block()
        with client(tmp_path) as asked:
            answer = asked.ask("log-level", {"level": "debug"})
        assert answer == {"level": "debug", "before": "info"}
        assert log_level() == "debug"
        with client(tmp_path) as asked, pytest.raises(CommandFailed, match="no log level"):
            asked.ask("log-level", {"level": ["verbose"]})


def test_a_task_is_cancelled_when_its_client_has_gone(loop: LoopThread) -> None:
    mount = Mount(loop)
    cancelled = threading.Event()

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    with pytest.raises(CommandFailed, match="cancelled"):
        mount.calls.run(wait, lambda: False)
    assert cancelled.is_set()


def test_an_error_of_a_task_is_raised_in_the_thread_and_ends_nothing(loop: LoopThread) -> None:
    mount = Mount(loop)

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("x")

    with pytest.raises(KeyError):
        mount.calls.run(fail, lambda: True)
    assert mount.calls.call(lambda: 5) == 5


def test_a_command_fails_after_the_loop_has_ended() -> None:
    with LoopThread() as running:
        mount = Mount(running)
    with pytest.raises(CommandFailed, match="being unmounted"):
        mount.calls.call(lambda: 5)


@pytest.mark.parametrize("paths", [None, "a", [1], {}])
def test_paths_must_be_texts(loop: LoopThread, tmp_path: Path, paths: object) -> None:
    mount = Mount(loop)
    with serving(tmp_path, mount.commands.table()):
        for command in ("forget", "warm"):
            with client(tmp_path) as asked, pytest.raises(CommandFailed, match="list of texts"):
                asked.ask(command, {"paths": paths})


@pytest.mark.parametrize(
    ("fits", "arguments", "fetched"),
    [
        (True, {}, True),
        (True, {"dry_run": True}, False),
        (False, {}, False),
        (False, {"partial": True}, True),
    ],
)
def test_more_than_the_cache_holds_is_fetched_only_on_request(
    loop: LoopThread, tmp_path: Path, *, fits: bool, arguments: Json, fetched: bool
) -> None:
    mount = Mount(loop)
    mount.warming.fits = fits
    with serving(tmp_path, mount.commands.table()), client(tmp_path) as asked:
        answer = asked.ask("warm", {"paths": ["a"], **arguments})
    assert answer == {"files": 1, "failures": ["a"], "fits": fits, "fetched": fetched}
    assert mount.warming.fetched == fetched


def test_a_warm_up_shows_its_progress_and_ends_with_its_client(
    loop: LoopThread, tmp_path: Path
) -> None:
    mount = Mount(loop)
    mount.warming.may_end = False
    seen = threading.Event()

    def show(fields: Json) -> None:
        assert fields == {"files": 1}
        seen.set()
        raise KeyboardInterrupt

    with serving(tmp_path, mount.commands.table()):
        with client(tmp_path) as asked, pytest.raises(KeyboardInterrupt):
            asked.ask("warm", {"paths": ["a"]}, show)
        assert seen.is_set()
        assert mount.warming.cancelled.wait(20)
