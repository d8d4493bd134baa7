"""The schedule of a soak: when each trouble is active. The schedule depends only on the seed.

Each phase has a few random troubles at the same time. The soak clears all fault rules before the
next phase.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .catalogue import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.emulator.injection.rules import Rule
    from tests.support.disks.disk_faults import DiskFault

    from .catalogue import Trouble

__all__ = ["Phase", "phases"]

_TROUBLES = (2, 5)
# Minimum and maximum duration of a phase in seconds. A phase is long enough for several retries,
# and far shorter than the mount's --read-timeout.
_PHASE_SECONDS = (1.5, 4.0)
_PAUSE_SECONDS = (0.8, 2.0)


@dataclass(frozen=True, slots=True)
class Phase:
    """Troubles that are active at the same time. Times are seconds since the start of the soak."""

    begin: float
    end: float
    troubles: tuple[Trouble, ...]
    seed: int

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The fault rules of all troubles of the phase."""
        return tuple(rule for trouble in self.troubles for rule in trouble.rules)

    @property
    def disk_faults(self) -> tuple[DiskFault, ...]:
        """The faults of the disk of the cache of all troubles of the phase."""
        return tuple(trouble.disk for trouble in self.troubles if trouble.disk is not None)

    @property
    def disk_bytes(self) -> int:
        """The capacity of the disk of the cache during the phase; 0 if it does not change."""
        return max(trouble.disk_bytes for trouble in self.troubles)

    @property
    def excuses(self) -> frozenset[str]:
        """The errnos that programs may see because of the troubles."""
        return frozenset().union(*(trouble.excuses for trouble in self.troubles))

    def __str__(self) -> str:
        names = ", ".join(trouble.name for trouble in self.troubles)
        return f"{self.begin:.1f}-{self.end:.1f} s: {names}"


def phases(seed: int, seconds: float) -> Iterator[Phase]:
    """Yield the phases of a soak that takes `seconds`."""
    source = random.Random(seed)
    begin = source.uniform(*_PAUSE_SECONDS)
    while True:
        end = begin + source.uniform(*_PHASE_SECONDS)
        troubles = _some_troubles(source)
        if end > seconds:
            return
        yield Phase(begin, end, troubles, source.randrange(2**31))
        begin = end + source.uniform(*_PAUSE_SECONDS)


def _some_troubles(source: random.Random) -> tuple[Trouble, ...]:
    chosen: list[Trouble] = []
    for _ in range(source.randint(*_TROUBLES)):
        (make,) = source.choices(
            [kind for kind, _ in KINDS], weights=[weight for _, weight in KINDS]
        )
        trouble = make(source)
        if not trouble.group or trouble.group not in {one.group for one in chosen}:
            chosen.append(trouble)
    return tuple(chosen)
