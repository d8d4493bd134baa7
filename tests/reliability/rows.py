"""A row of the fault table: the injected fault and the expected outcome."""

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
    "DEFAULT",
    "FRESH",
    "LONG",
    "PROXIED",
    "RIGHT",
    "SHORT",
    "After",
    "Group",
    "MountKind",
    "Reader",
    "Row",
    "described",
]

RIGHT = "the right bytes"
_SHORT_SECONDS = "2s"
# The mount's default of --read-timeout.
_LONG_SECONDS = "120s"
# Names of the fault parameters that the document shows even if they have their default values.
_ALWAYS_SHOWN = ("code", "how", "seconds", "to")


class Reader(enum.StrEnum):
    """What the program that uses the mount does during the fault (see the module `readers`)."""

    SEQUENTIAL = "reads a file of 3 MiB in order"
    RANDOM = "reads a file of 3 MiB at random offsets in four threads"
    TWO_PARTS = "reads the start of a file, and its end after a pause"
    NAMES = "looks a name up, lists its folder and reads three small files"
    MANY = "lists a folder of 1,005 objects"


class After(enum.Enum):
    """The state of the object after the fault."""

    SAME = enum.auto()
    REWRITTEN = enum.auto()
    GONE = enum.auto()


@dataclass(frozen=True, slots=True)
class MountKind:
    """The kind of mount that a row uses. With `own`, no other row uses the mount.

    A row that would disturb later rows needs its own mount. With `proxied`, the mount connects
    through the TCP proxy. With `tokens`, the mount uses TLS and fetches access tokens with a
    service account's key.
    """

    options: tuple[str, ...]
    proxied: bool = False
    own: bool = False
    tokens: bool = False

    @property
    def short(self) -> bool:
        """Whether the read timeout is 2 s."""
        return _SHORT_SECONDS in self.options

    @property
    def long(self) -> bool:
        """Whether the row takes a minute; such a row runs at the same time as all other rows."""
        return _LONG_SECONDS in self.options


# The default mount of rows. Its read timeout is longer than every transient fault of its rows.
DEFAULT = MountKind(("--read-timeout", "30s", "--negative-ttl", "0"))
# A mount for rows in which the read timeout expires.
SHORT = MountKind(("--read-timeout", _SHORT_SECONDS, "--negative-ttl", "0"))
# A mount for faults that last a minute.
LONG = MountKind(("--read-timeout", _LONG_SECONDS, "--negative-ttl", "0"), proxied=True, own=True)
# A mount that looks names up at each use, for rows in which another writer overwrites objects.
FRESH = MountKind((*DEFAULT.options, "--metadata-ttl", "0"))
# A mount that connects through the TCP proxy, which injects faults of connections.
PROXIED = MountKind(DEFAULT.options, proxied=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One fault and its expected outcome.

    Attributes:
        fault: the name of the row in the document.
        rules: the fault rules for the emulator.
        requests: the maximum number of requests during the fault, of all methods.
        reader: the program that uses the mount.
        sees: `RIGHT`, or the errnos that the program may see, of which it sees at least one. Random
            reads also see right bytes.
        counters: the minimum increase of each metric of the mount; 0 means that the metric must not
            increase.
        mount: the options of the mount.
        after: the state of the object after the fault.
        grown_bytes: the number of bytes that the other writer adds to the object.
        says: a part of a log line that is expected in addition to the lines of errnos, or empty.
        defect: the reason why the row fails, or empty. With a defect, the row must fail.
    """

    fault: str
    rules: tuple[Rule, ...]
    requests: int
    reader: Reader = Reader.SEQUENTIAL
    sees: str = RIGHT
    counters: Mapping[str, int] = field(default_factory=dict)
    mount: MountKind = DEFAULT
    after: After = After.SAME
    grown_bytes: int = 0
    says: str = ""
    defect: str = ""

    @property
    def errors(self) -> tuple[str, ...]:
        """The errnos that the reader may see. Unless empty, the reader must see at least one."""
        return () if self.sees == RIGHT else tuple(self.sees.split(" or "))


@dataclass(frozen=True, slots=True)
class Group:
    """A titled table of rows in the document."""

    title: str
    rows: tuple[Row, ...]


def described(rule: Rule) -> str:
    """Return the text that describes a rule in the document."""
    words = [f"`{_call(rule.fault)}`"]
    if rule.method != "*":
        words.append(f"of {rule.method}")
    if rule.resumed is not None:
        words.append(
            "that continues an earlier call" if rule.resumed else "that starts from the beginning"
        )
    words.append(f"at {rule.point}")
    if rule.after_bytes:
        words.append(f"after {rule.after_bytes:,} bytes")
    if rule.after_seconds:
        words.append(f"after {rule.after_seconds:g} s")
    if rule.nth:
        words.append(f"number {rule.nth}")
    if rule.covers is not None:
        words.append(f"for the range that contains byte {rule.covers:,}")
    if rule.skip:
        words.append(f"except the first {rule.skip}")
    if rule.probability < 1:
        words.append(f"with probability {rule.probability:g}")
    return " ".join(words) + ", " + _times(rule.times)


def _call(fault: Fault) -> str:
    """Return a fault's kind with its parameters; most default values are left out."""
    values = {parameter: getattr(fault, parameter.name) for parameter in fields(fault)}
    parameters = [
        f"{parameter.name}={value.name if isinstance(value, StatusCode) else value}"
        for parameter, value in values.items()
        if value != parameter.default or parameter.name in _ALWAYS_SHOWN
    ]
    kind = kind_name(type(fault))
    return f"{kind}({', '.join(parameters)})" if parameters else kind


def _times(times: int) -> str:
    if times == FOR_EVER:
        return "always"
    return "once" if times == 1 else f"{times} times"
