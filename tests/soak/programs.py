"""The programs of a soak: processes that are watched, and begun again when they have been ended."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .slots import Slots

if TYPE_CHECKING:
    import signal

    from .slots import UnderWay

__all__ = ["Program", "Programs", "Report"]

# A worker imports what tests share by its whole name, whatever name pytest gives this package.
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Report:
    """A line that a program has said; None: it has said its last."""

    program: Program
    said: dict[str, object] | None


class Program:
    """One worker process, and those that take its place."""

    def __init__(self, number: int, kind: str, command: list[str], slots: Slots) -> None:
        self.number = number
        self.kind = kind
        self.starts = 0
        self.ended = False
        self.process: subprocess.Popen[str]
        self._command = command
        self._slot = slots.slot(number)

    def start(self, reports: queue.SimpleQueue[Report]) -> None:
        """Begin, with another seed each time."""
        self._slot.clear()
        self.starts += 1
        self.process = subprocess.Popen(
            [part.replace("{start}", str(self.starts)) for part in self._command],
            cwd=_ROOT,
            # Those that a page fault ends need not say where.
            env=os.environ | {"PYTHONFAULTHANDLER": ""},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        threading.Thread(
            target=_listen, args=(self, self.process.stdout, reports), daemon=True
        ).start()

    def under_way(self) -> UnderWay | None:
        """Return what it is doing now."""
        return self._slot.under_way()


def _listen(program: Program, output: IO[str], reports: queue.SimpleQueue[Report]) -> None:
    with output:
        for line in output:
            # The last line of one that was killed may be cut short.
            if line.endswith("\n"):
                reports.put(Report(program, json.loads(line)))
    reports.put(Report(program, None))


class Programs:
    """All of them."""

    def __init__(self, kinds: list[str], seed: int, root: Path, folder: Path) -> None:
        path = folder / "slots"
        self._slots = Slots(path, len(kinds))
        self.reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self.all = [
            Program(
                number,
                kind,
                [
                    *(sys.executable, "-m", "tests.soak.worker", kind),
                    *(f"{seed} {number} {{start}}", os.fspath(root), os.fspath(path), str(number)),
                ],
                self._slots,
            )
            for number, kind in enumerate(kinds)
        ]

    def start(self) -> None:
        """Begin with all."""
        for program in self.all:
            program.start(self.reports)

    def stop(self) -> None:
        """Ask all to end after what they are doing now."""
        self._slots.stop()

    @property
    def stopping(self) -> bool:
        """Whether they have been asked."""
        return self._slots.stopping

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all."""
        for program in self.all:
            if not program.ended:
                program.process.send_signal(number)

    def kill(self) -> None:
        """End all at once, whatever they do."""
        for program in self.all:
            program.process.kill()
        for program in self.all:
            program.process.wait()
