"""What a row of the table is: a fault, what is ordered for it, and what has to come of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import kind_name
from gcsmux_fs.emulator.injection.rules import FOR_EVER
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.emulator.faults import Fault
    from gcsmux_fs.emulator.injection.rules import Rule

__all__ = [
    "FRESH",
    "HASTY",
    "LASTING",
    "PATIENT",
    "RELAYED",
    "RIGHT",
    "After",
    "Group",
    "MountKind",
    "Reader",
    "Row",
    "described",
]

RIGHT = "the right bytes"
_HASTY_SECONDS = "2s"
# The mount's default.
_LASTING_SECONDS = "120s"
# Parameters of faults that say something even where they are as by default.
_ALWAYS_SAID = ("code", "how", "seconds", "to")


class Reader(enum.StrEnum):
    """Who uses the mount while the fault happens (see `readers`)."""

    SEQUENTIAL = "reads a file of 3 MiB in order"
    RANDOM = "reads anywhere in a file of 3 MiB, in four threads"
    SITTINGS = "reads the begin of a file, and its end after a pause"
    NAMES = "looks a name up, lists its folder, and reads three small files"
    MANY = "lists a folder of 1,005 objects"


class After(enum.Enum):
    """What the fault has made of the object for those who open it again."""

    SAME = enum.auto()
    REWRITTEN = enum.auto()
    GONE = enum.auto()


@dataclass(frozen=True, slots=True)
class MountKind:
    """How the mount of a row is made; rows that would disturb others have one of their `own`.

    With `tokens` it brings a token to each call, over TLS, and fetches it for a key.
    """

    options: tuple[str, ...]
    relayed: bool = False
    own: bool = False
    tokens: bool = False

    @property
    def hasty(self) -> bool:
        """Whether its readers have little time."""
        return _HASTY_SECONDS in self.options

    @property
    def lasting(self) -> bool:
        """Whether its rows take a minute: they are played beside the others."""
        return _LASTING_SECONDS in self.options


# A reader waits no longer than this in any test, and no fault that passes takes as long.
PATIENT = MountKind(("--read-timeout", "30s", "--negative-ttl", "0"))
# Where the deadline itself is what is to be seen.
HASTY = MountKind(("--read-timeout", _HASTY_SECONDS, "--negative-ttl", "0"))
# Where what passes takes long.
LASTING = MountKind(
    ("--read-timeout", _LASTING_SECONDS, "--negative-ttl", "0"), relayed=True, own=True
)
# Where another writer changes names, which are not believed for a moment.
FRESH = MountKind((*PATIENT.options, "--metadata-ttl", "0"))
# Through the relay, whose connections break.
RELAYED = MountKind(PATIENT.options, relayed=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        fault: how the table calls it.
        rules: what is ordered.
        requests: the most that the emulator may be asked meanwhile, all methods together.
        reader: who uses the mount.
        sees: `RIGHT`, or the name of an errno, or of two; a reader at random sees right bytes too.
        counters: what the mount has to have counted meanwhile, at least; 0 is none at all.
        mount: how it is mounted.
        after: what there is to be read once nothing is ordered any more.
        grown_bytes: by how much the other writer changed the object's size.
        says: what the log says beside the errno, if anything.
        defect: why this is not so yet; the test then has to fail.
    """

    fault: str
    rules: tuple[Rule, ...]
    requests: int
    reader: Reader = Reader.SEQUENTIAL
    sees: str = RIGHT
    counters: Mapping[str, int] = field(default_factory=dict)
    mount: MountKind = PATIENT
    after: After = After.SAME
    grown_bytes: int = 0
    says: str = ""
    defect: str = ""

    @property
    def errors(self) -> tuple[str, ...]:
        """The names of the errnos, of which the reader sees one."""
        return () if self.sees == RIGHT else tuple(self.sees.split(" or "))


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together."""

    title: str
    rows: tuple[Row, ...]


def described(rule: Rule) -> str:
    """Return what a rule orders, in short."""
    words = [f"`{_call(rule.fault)}`"]
    if rule.method != "*":
        words.append(f"of {rule.method}")
    if rule.resumed is not None:
        words.append("that goes on from an earlier one" if rule.resumed else "that begins anew")
    words.append(f"at {rule.point}")
    if rule.after_bytes:
        words.append(f"after {rule.after_bytes:,} bytes")
    if rule.after_seconds:
        words.append(f"after {rule.after_seconds:g} s")
    if rule.nth:
        words.append(f"number {rule.nth}")
    if rule.covers is not None:
        words.append(f"with byte {rule.covers:,}")
    if rule.skip:
        words.append(f"but the first {rule.skip}")
    if rule.probability < 1:
        words.append(f"one in {round(1 / rule.probability)}")
    return " ".join(words) + ", " + _times(rule.times)


def _call(fault: Fault) -> str:
    """Return the kind of a fault with its code and times, and what else is not as by default."""
    values = {one: getattr(fault, one.name) for one in fields(fault)}
    said = [
        f"{one.name}={value.name if isinstance(value, StatusCode) else value}"
        for one, value in values.items()
        if value != one.default or one.name in _ALWAYS_SAID
    ]
    return f"{kind_name(type(fault))}({', '.join(said)})" if said else kind_name(type(fault))


def _times(times: int) -> str:
    if times == FOR_EVER:
        return "for ever"
    return "once" if times == 1 else f"{times} times"
