"""A storm of changes, in which programs and the mount are killed, leaves nothing stuck."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.mount.processes import descendants_in_state_d
from tests.support import programs
from tests.support.harness import END_SECONDS, wait_until
from tests.support.prepared_events import deleted, finalized, prepare_events, publish_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

_NAMES = [f"file-{tag}" for tag in range(20)]
_SIZE = 300_000
_EVENTS_PER_SECOND = 2_000
# The events of one round. Every fourth event deletes an object, so names come and go.
_EVENTS, _ROUNDS = 1_000, 4
_FIRST_GENERATION = 3_000_000_000_000_000
_TTL = ("--metadata-ttl", "1h", "--negative-ttl", "1h")


@contextmanager
def _storming(emulator: EmulatorProcess, subscription: str) -> Iterator[None]:
    """During the block, overwrite objects, and publish many events that are not true."""
    ended = threading.Event()
    bucket = emulator.bucket_name
    rounds = [
        prepare_events(
            subscription,
            (
                (deleted if number % 4 == 3 else finalized)(
                    bucket, _NAMES[number % len(_NAMES)], _FIRST_GENERATION + number // 4
                )
                for number in range(turn * _EVENTS, (turn + 1) * _EVENTS)
            ),
        )
        for turn in range(_ROUNDS)
    ]

    def publish() -> None:
        for requests in rounds:
            if ended.is_set():
                return
            publish_events(emulator.endpoint, requests, _EVENTS_PER_SECOND)

    def overwrite() -> None:
        tag = 0
        while not ended.wait(0.01):
            tag += 1
            emulator.write(_NAMES[tag % len(_NAMES)], programs.tagged(tag, 0, _SIZE))

    threads = [threading.Thread(target=publish), threading.Thread(target=overwrite)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _write_all(emulator: EmulatorProcess) -> None:
    for tag, name in enumerate(_NAMES):
        emulator.write(name, programs.tagged(tag, 0, _SIZE))


def _wait_until_healthy(mounted: MountProcess) -> None:
    wait_until(lambda: "feed of changes: healthy" in mounted.log, "the feed is healthy")


def test_a_mount_answers_after_a_storm_of_changes_and_killed_programs(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    _write_all(emulator)
    subscription = emulator.subscribe()
    with mount("--changes", subscription, *_TTL) as mounted, mounted.program() as killer:
        _wait_until_healthy(mounted)
        with _storming(emulator, subscription):
            storm = killer.call(programs.storm, str(mounted.path), _NAMES, 60, 1, True)
        assert storm.stuck == 0
        assert storm.killed > 250
        assert mounted.statistics()["changes_applied"] > 1_000
        # Since `storm` has killed its last process, no process has used the mount. A frozen mount
        # would not answer now.
        emulator.write("last", b"the last change")
        wait_until(
            lambda: mounted.run("cat", "last", timeout=10).stdout == b"the last change",
            "the last change shows",
        )


def test_a_mount_killed_in_a_storm_of_changes_leaves_no_process_in_state_d(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    _write_all(emulator)
    subscription = emulator.subscribe()
    with ExitStack() as stack:
        mounted = mount("--changes", subscription, *_TTL)
        stack.callback(mounted.abort)
        mounted.__enter__()
        assert mounted.process.stderr is not None
        stack.callback(mounted.process.stderr.close)
        killer = stack.enter_context(mounted.program())
        _wait_until_healthy(mounted)
        with _storming(emulator, subscription):
            killer.begin(programs.storm, str(mounted.path), _NAMES, 40, 2, True)
            epochs = mounted.statistics()["changes_epochs"]
            wait_until(lambda: mounted.statistics()["changes_epochs"] > epochs, "changes arrive")
            mounted.process.send_signal(signal.SIGKILL)
            mounted.process.wait(END_SECONDS)
            storm = killer.answer()
        assert isinstance(storm, programs.Storm)
        assert storm.stuck == 0
        assert descendants_in_state_d() == []
