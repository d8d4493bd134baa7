"""A mount that receives changes shows what a mount shows that always asks the service."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import (
    AckLost,
    Delay,
    EndOk,
    InjectionPoint,
    LeaseExpired,
    MessageDuplicated,
    MessageHeldBack,
)
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from tests.support.harness import wait_until
from tests.support.shown_names import look_everywhere

if TYPE_CHECKING:
    from gcsmux_fs.emulator.faults import Fault
    from tests.support.emulator_process import EmulatorProcess
    from tests.support.harness import MountProcess, NewMount, Program
    from tests.support.shown_names import Shown

pytestmark = pytest.mark.mount

# Names that hide each other, that make folders come and go, and that need the special spelling.
_NAMES = (
    *("f", "f/", "f/g", "f/g/h", "f/g/h/i", "d/", "d/e", "d/e/", "d/e/f", "d/x"),
    *(
        "a//b",
        "a/./b",
        "a/../b",
        "/x",
        "//",
        "%~a",
        "%file~f",
        "%20",
    ),
    *("l" * 300, "l" * 300 + "/m", "l" * 256 + "n", "deep/er/and/deep/er", "deep/er", "ö"),
)
# No name changes during a test, unless the mount receives the change.
_TOLD = ("--metadata-ttl", "1h", "--negative-ttl", "1h")
_ASKING = ("--metadata-ttl", "0", "--negative-ttl", "0")
_SECONDS = 20


class _Writer:
    """Changes random objects."""

    def __init__(self, emulator: EmulatorProcess, seed: int) -> None:
        self._emulator = emulator
        self._random = random.Random(seed)
        self._present: set[str] = set()

    def change(self, count: int) -> list[str]:
        """Make `count` changes; return what was done."""
        return [self._change_one() for _ in range(count)]

    def _change_one(self) -> str:
        name = self._random.choice(_NAMES)
        if name in self._present and self._random.random() < 0.5:
            self._emulator.delete(name)
            self._present.remove(name)
            return f"delete {name!r}"
        if name in self._present and self._random.random() < 0.2:
            self._emulator.change_metadata(name, {"gcsfuse_symlink_target": "elsewhere"})
            return f"change the metadata of {name!r}"
        content = bytes(self._random.choice([0, 1, 5, 1000]))
        self._emulator.write(name, content)
        self._present.add(name)
        return f"write {name!r}, {len(content)} bytes"


def test_random_changes_show_as_in_a_mount_that_always_asks(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    compare_mounts(emulator, mount, seed=1, rounds=8, is_faulty=True)


def compare_mounts(
    emulator: EmulatorProcess, mount: NewMount, *, seed: int, rounds: int, is_faulty: bool
) -> None:
    """Change objects, and compare a mount that receives them with one that asks, `rounds` times."""
    subscription = emulator.subscribe()
    writer = _Writer(emulator, seed)
    writer.change(10)
    with (
        mount(
            *("--changes", subscription, *_TOLD),
            expected_warnings=["feed of changes: interrupted"],
        ) as told,
        mount(*_ASKING) as asking,
        told.program() as told_program,
        asking.program() as asking_program,
    ):
        wait_until(lambda: "feed of changes: healthy" in told.log, "the feed is healthy")
        if is_faulty:
            emulator.inject(*_faults(subscription), seed=seed)
        probes: set[str] = set()
        for number in range(rounds):
            done = writer.change(number % 5 + 1)
            _compare((told, told_program), (asking, asking_program), probes, done)


def _faults(subscription: str) -> list[Rule]:
    faults: list[tuple[Fault, InjectionPoint, int]] = [
        (MessageDuplicated(0.1), InjectionPoint.DELIVERY, FOR_EVER),
        (MessageHeldBack(2, 0.2), InjectionPoint.DELIVERY, FOR_EVER),
        (Delay(0.05, 0.1), InjectionPoint.DELIVERY, FOR_EVER),
        (LeaseExpired(), InjectionPoint.DELIVERY, FOR_EVER),
        (AckLost(0.1), InjectionPoint.ACK, FOR_EVER),
        (EndOk(), InjectionPoint.DELIVERY, 2),
    ]
    return [
        Rule(fault, at=at, object=subscription, probability=0.2, times=times, name=str(number))
        for number, (fault, at, times) in enumerate(faults)
    ]


def _compare(
    told: tuple[MountProcess, Program],
    asking: tuple[MountProcess, Program],
    probes: set[str],
    done: list[str],
) -> None:
    """Wait until both mounts show the same; add all paths that they show to `probes`."""
    shown: list[dict[str, Shown]] = []

    def look(mounted: MountProcess, program: Program) -> dict[str, Shown]:
        found: dict[str, Shown] = program.call(look_everywhere, str(mounted.path), sorted(probes))
        return found

    def is_same() -> bool:
        shown[:] = [look(*told), look(*asking)]
        return shown[0] == shown[1]

    try:
        wait_until(is_same, "both mounts show the same", _SECONDS)
    except AssertionError:
        paths = sorted({*shown[0], *shown[1]})
        differences = [
            f"{path!r}: {shown[0].get(path)} instead of {shown[1].get(path)}"
            for path in paths
            if shown[0].get(path) != shown[1].get(path)
        ]
        raise AssertionError("\n".join([f"after {done}:", *differences])) from None
    probes.update(path for path in shown[1] if not path.endswith((" looked up", " listed")))
