"""The programs of a soak: processes that the soak watches and restarts."""

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

    from .slots import OperationInFlight

__all__ = ["Program", "Programs", "Report"]

# Working directory of the workers: the root of the checkout, where Python finds the module
# `tests.soak.worker`.
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Report:
    """A JSON line that a program printed. If `said` is None, the output has ended."""

    program: Program
    said: dict[str, object] | None


class Program:
    """A program of the soak: one worker process, which the soak starts again when it ends."""

    def __init__(self, number: int, kind: str, command: list[str], slots: Slots) -> None:
        self.number = number
        self.kind = kind
        self.starts = 0
        self.ended = False
        self.process: subprocess.Popen[str]
        self._command = command
        self._slot = slots.slot(number)

    def start(self, reports: queue.SimpleQueue[Report]) -> None:
        """Start a worker process, each time with another seed."""
        self._slot.clear()
        self.starts += 1
        self.process = subprocess.Popen(
            [part.replace("{start}", str(self.starts)) for part in self._command],
            cwd=_ROOT,
            # Empty, so that Python prints no stack trace when SIGBUS ends the process.
            env=os.environ | {"PYTHONFAULTHANDLER": ""},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        threading.Thread(
            target=_listen, args=(self, self.process.stdout, reports), daemon=True
        ).start()

    def operation_in_flight(self) -> OperationInFlight | None:
        """Return the operation in flight of this program, or None."""
        return self._slot.operation_in_flight()


def _listen(program: Program, output: IO[str], reports: queue.SimpleQueue[Report]) -> None:
    with output:
        for line in output:
            # Ignore an incomplete line, which may be the last line of a killed process.
            if line.endswith("\n"):
                reports.put(Report(program, json.loads(line)))
    reports.put(Report(program, None))


class Programs:
    """All programs of a soak."""

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
        """Start all programs."""
        for program in self.all:
            program.start(self.reports)

    def stop(self) -> None:
        """Ask all programs to stop after their current operation."""
        self._slots.stop()

    @property
    def stopping(self) -> bool:
        """Whether the programs have been asked to stop."""
        return self._slots.stopping

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all programs."""
        for program in self.all:
            if not program.ended:
                program.process.send_signal(number)

    def kill(self) -> None:
        """Kill all programs."""
        for program in self.all:
            program.process.kill()
        for program in self.all:
            program.process.wait()
