"""Runs rows of the table with faults of the feed of changes.

All rows whose changes show when messages arrive share one mount. The other rows have a mount each,
and are played at the same time.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from tests.reliability.change_rows import Deed, Show
from tests.support.harness import EmulatorProcess, MountProcess, Program, wait_until
from tests.support.shown_names import follow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gcsmux_fs.emulator.injection.rules import Rule
    from tests.reliability.change_rows import ChangeRow
    from tests.support.shown_names import Followed

__all__ = ["HISTORIES", "ChangeOutcome", "is_in_order", "play_told", "play_untold"]

_FOLLOW_SECONDS = 40.0
_CHANGE_SECONDS = 0.02
_FAULT_SECONDS = 1.0
_SHORT_TTL = ("--metadata-ttl", "1s", "--negative-ttl", "1s")
_LONG_TTL = ("--metadata-ttl", "1h", "--negative-ttl", "1h")
# A port at which nothing listens.
_NO_SERVER = "http://127.0.0.1:1"
# The sizes of each file, one after the other; -1 while it is deleted.
HISTORIES = {
    "overwritten": [1, 2, 3, 4, 5, 6, 7, 8],
    "new": [-1, 1, 2, -1, 3, 4],
    "deleted": [1, -1, 2, 3, -1],
}
_KEEPER = "keeper"


@dataclass(frozen=True)
class ChangeOutcome:
    """The outcome of a row.

    Attributes:
        followed: what the program saw of the changes.
        early: whether the last change showed before the fault ended.
        state: the state of the feed at the end.
        fired: how often the faults happened, by their names.
        increases: the increase of each metric of the mount.
    """

    followed: Followed
    early: bool
    state: str
    fired: dict[str, int]
    increases: dict[str, int]


def is_in_order(history: Sequence[int], seen: Sequence[int]) -> bool:
    """Return whether a program that saw these sizes never saw an older one after a newer one."""
    rest = iter(history)
    return all(size in rest for size in seen)


def play_told(rows: Sequence[ChangeRow], folder: Path) -> dict[str, ChangeOutcome]:
    """Play rows one after the other on one mount; return their outcomes by name."""
    with EmulatorProcess(folder / "buckets") as emulator:
        emulator.write(_KEEPER, b"")
        subscription = emulator.subscribe()
        mounted = _mount(emulator, folder, "--changes", subscription, *_LONG_TTL)
        with mounted, mounted.program() as program:
            _wait_until_healthy(mounted)
            outcomes = {}
            for number, row in enumerate(rows):
                play = _Play(row, emulator, mounted, program, f"row-{number}", subscription)
                play.prepare()
                play.note_metrics()
                emulator.statistics(reset=True)
                emulator.inject(*play.rules())
                play.begin()
                _change(emulator, play.prefix)
                outcomes[row.fault] = play.end()
            return outcomes


def play_untold(rows: Sequence[ChangeRow], folder: Path) -> dict[str, ChangeOutcome]:
    """Play rows at the same time, each on its own mount; return their outcomes by name."""
    with EmulatorProcess(folder / "buckets") as emulator, ExitStack() as exits:
        plays = []
        for number, row in enumerate(rows):
            subscription = emulator.subscribe(f"projects/p/subscriptions/row-{number}")
            options = ["--changes", subscription, *_SHORT_TTL]
            if row.deed is Deed.NO_ENDPOINT:
                options += ["--pubsub-endpoint", _NO_SERVER]
            mount_folder = folder / f"mount-{number}"
            mount_folder.mkdir()
            mounted = exits.enter_context(_mount(emulator, mount_folder, *options))
            program = exits.enter_context(mounted.program())
            plays.append(_Play(row, emulator, mounted, program, "row", subscription))
        plays[0].prepare()
        for play in plays:
            if play.row.deed is not Deed.NO_ENDPOINT:
                _wait_until_healthy(play.mounted)
            play.note_metrics()
        emulator.inject(*(rule for play in plays for rule in play.rules()))
        for play in plays:
            play.begin()
            play.wait_for_state()
        _change(emulator, "row")
        return {play.row.fault: play.end() for play in plays}


def _mount(emulator: EmulatorProcess, folder: Path, *options: str) -> MountProcess:
    # The rows check the log lines themselves.
    return MountProcess(emulator, folder, options, expected_warnings=[""], log_level="info")


def _wait_until_healthy(mounted: MountProcess) -> None:
    wait_until(lambda: "feed of changes: healthy" in mounted.log, "the feed is healthy")


def _change(emulator: EmulatorProcess, prefix: str) -> None:
    """Make the changes of all histories, except the first size of each, in turns."""
    for number in range(1, max(map(len, HISTORIES.values()))):
        for name, history in HISTORIES.items():
            if number < len(history):
                _set(emulator, f"{prefix}/{name}", history[number])
                time.sleep(_CHANGE_SECONDS)


def _set(emulator: EmulatorProcess, name: str, size: int) -> None:
    if size < 0:
        emulator.delete(name)
    else:
        emulator.write(name, b"v" * size)


@dataclass
class _Play:
    """One row that is played, and the folder whose files change."""

    row: ChangeRow
    emulator: EmulatorProcess
    mounted: MountProcess
    program: Program
    prefix: str
    subscription: str

    def prepare(self) -> None:
        """Write the files of the folder."""
        for name, history in {_KEEPER: [0], **HISTORIES}.items():
            if history[0] >= 0:
                _set(self.emulator, f"{self.prefix}/{name}", history[0])
        first = {name: history[0] for name, history in HISTORIES.items()}
        root = f"{self.mounted.path}/{self.prefix}"
        wait_until(lambda: self.mounted.run("ls", root).returncode == 0, "the folder shows")
        assert self.program.call(follow, root, first, _FOLLOW_SECONDS).is_final

    def rules(self) -> Iterator[Rule]:
        """Yield the rules of the row."""
        for number, rule in enumerate(self.row.rules):
            yield replace(rule, object=self.subscription, name=f"{self.row.fault} {number}")

    def note_metrics(self) -> None:
        """Note the metrics of the mount before the fault."""
        self._before = self.mounted.statistics()

    def begin(self) -> None:
        """Do the deed of the row, and begin to follow the files."""
        if self.row.deed is Deed.UNSUBSCRIBE:
            self.emulator.unsubscribe(self.subscription)
        final = {name: history[-1] for name, history in HISTORIES.items()}
        root = f"{self.mounted.path}/{self.prefix}"
        self.program.begin(follow, root, final, _FOLLOW_SECONDS)

    def wait_for_state(self) -> None:
        """Wait until the feed has the state of the row."""
        wait_until(lambda: self._state() == self.row.state, f"the feed is {self.row.state}")

    def end(self) -> ChangeOutcome:
        """Wait until the changes show, and return the outcome."""
        early = False
        if self.row.show is Show.AFTER_FAULT:
            early = self.program.has_report(_FAULT_SECONDS)
            fired = self.emulator.statistics().faults
            self.emulator.clear_faults()
        followed = cast("Followed", self.program.answer())
        if self.row.show is not Show.AFTER_FAULT:
            fired = self.emulator.statistics().faults
        self.wait_for_state()
        after = self.mounted.statistics()
        increases = {name: after[name] - self._before[name] for name in after}
        return ChangeOutcome(followed, early, self._state(), fired, increases)

    def _state(self) -> str:
        self.mounted.statistics()
        line = [line for line in self.mounted.log.splitlines() if "statistics {" in line][-1]
        states: dict[str, int] = json.loads(line.partition("statistics ")[2])["changes_state"]
        return next(name for name, is_current in states.items() if is_current)
