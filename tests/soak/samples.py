"""Samples of the mount: each has the mount's metrics and the resources of the mount process."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.open_files import open_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.harness import MountProcess

__all__ = ["Holding", "Sample", "Sampler", "growth_bytes", "holding", "state_of"]

_ANSWER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Holding:
    """The resources that a process holds, according to /proc."""

    resident_bytes: int
    threads: int
    sockets: int
    other_files: tuple[str, ...]

    def shown(self) -> dict[str, int]:
        """Return the number of resources of each kind, for the summary."""
        return {
            "resident_bytes": self.resident_bytes,
            "threads": self.threads,
            "sockets": self.sockets,
            "other_files": len(self.other_files),
        }


@dataclass(frozen=True, slots=True)
class Sample:
    """Resources and metrics of the mount, `at` seconds after the start of the soak."""

    at: float
    holding: Holding
    statistics: dict[str, int]


def holding(process: int) -> Holding:
    """Return the resources that a process holds now."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    status = {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}
    files = open_files(process)
    others = sorted(target for target in files if not target.startswith("socket:"))
    return Holding(
        resident_bytes=int(status["VmRSS"].split()[0]) * 1024,
        threads=int(status["Threads"]),
        sockets=len(files) - len(others),
        other_files=tuple(others),
    )


def state_of(process: int) -> str:
    """Return the kernel's state letter of a process; `X` if the process does not exist."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


class Sampler:
    """Takes samples of a mount. Each sample reads only the log lines after the previous sample."""

    def __init__(self, mounted: MountProcess) -> None:
        self._mounted = mounted
        self._position = 0

    def look(self, at: float) -> Sample:
        """Make the mount log its metrics (SIGUSR1); return the metrics and the process's resources.

        `at` is the time in seconds since the start of the soak.

        Raises:
            TimeoutError: the mount did not log its metrics within `_ANSWER_SECONDS`.
        """
        self._read_log()
        self._mounted.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + _ANSWER_SECONDS
        while (statistics := self._read_log()) is None:
            if time.monotonic() > end:
                raise TimeoutError("the mount does not log its metrics")
            time.sleep(0.02)
        return Sample(at, holding(self._mounted.process.pid), statistics)

    def _read_log(self) -> dict[str, int] | None:
        """Return the newest metrics logged since the last call; None if no metrics were logged."""
        found: dict[str, int] | None = None
        with self._mounted.log_file.open("rb") as log:
            log.seek(self._position)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                if b"statistics {" in line:
                    found = json.loads(line.partition(b"statistics ")[2])
        return found


def growth_bytes(samples: Sequence[Sample]) -> int:
    """Return the number of bytes by which the resident memory grew in the last half of the samples.

    The result is the slope of a linear regression, multiplied by the duration of this half.
    """
    half = samples[len(samples) // 2 :]
    if len(half) < 3:
        return 0
    middle = sum(sample.at for sample in half) / len(half)
    mean = sum(sample.holding.resident_bytes for sample in half) / len(half)
    spread = sum((sample.at - middle) ** 2 for sample in half)
    slope = (
        sum((one.at - middle) * (one.holding.resident_bytes - mean) for one in half) / spread
        if spread
        else 0.0
    )
    return round(slope * (half[-1].at - half[0].at))
