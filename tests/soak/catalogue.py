"""The kinds of troubles in a soak, and the errors that programs may see during each trouble.

A trouble is a set of fault rules for the emulator, a fault of the disk that holds the cache, or a
signal to a process, for some seconds.
During most troubles, programs may see no error. Their reads only take longer, because the trouble
ends within `--read-timeout`. Two troubles of one `group` never overlap, because no client could
detect both together. For example, if one fault corrupts a chunk and another fault computes the
checksum of the chunk again, the checksum is right.
"""

from __future__ import annotations

import enum
import errno
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import (
    Bandwidth,
    ChunkCorrupted,
    ChunkDropped,
    ChunkDuplicated,
    ChunkEmpty,
    ChunkEndsEarly,
    ChunkGap,
    ChunkOverlaps,
    ChunkStray,
    ChunkSwapped,
    ChunkTooLong,
    ChunkWithoutCrc,
    ChunkWithoutEnd,
    ChunkWrongCrc,
    Close,
    Delay,
    Delete,
    Details,
    EmptyMessage,
    EndOk,
    Goaway,
    HalfOpen,
    Hang,
    InjectionPoint,
    Malformed,
    MalformedKind,
    OmitMetadata,
    Overwrite,
    Padded,
    PageAgain,
    PageEmpty,
    PageTokenTarget,
    PageUnsorted,
    PortGone,
    RangeError,
    Redirect,
    Reset,
    RstStream,
    Stall,
    Status,
    WrongGeneration,
    kind_name,
)
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.support.disks.disk_faults import READING, WRITING, DiskFault
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gcsmux_fs.emulator.faults import Fault

__all__ = ["KINDS", "Deed", "Trouble"]

_BIDI = "BidiReadObject"
_READS = "*Read*"
_LOOKUPS = ("GetObject", "ListObjects")

_NOTHING: frozenset[str] = frozenset()
_DISK_OPERATIONS = (
    (frozenset({"read"}), "read"),
    (frozenset({"write"}), "write"),
    (WRITING, "change"),
    (READING | WRITING, "do anything"),
)


class Deed(enum.Enum):
    """An action on a process."""

    KILL_EMULATOR = "kill emulator"  # and start the emulator again on the same ports
    STOP_EMULATOR = "stop emulator"
    STOP_MOUNT = "stop mount"
    STOP_READERS = "stop readers"
    KILL_READERS = "kill readers"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Fault rules or an action on a process, and the errnos that programs may see meanwhile.

    `disk` is a fault of the disk that holds the cache. If `disk_bytes` is not 0, the disk shrinks
    to this capacity. Programs never see an error because of the disk.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    deed: Deed | None = None
    disk: DiskFault | None = None
    disk_bytes: int = 0
    seconds: float = 0.0
    excuses: frozenset[str] = _NOTHING
    group: str = ""


def _rule(fault: Fault, source: Random, **more: object) -> Rule:
    """Return a rule with a random probability and a random limit of how often the rule fires.

    `more` contains further parameters of the rule, and replaces the random parameters of the same
    name. A rule that affects calls affects only reads, unless `more` contains a method.
    """
    said = {
        "name": kind_name(type(fault)),
        "times": source.choice([2, 10, FOR_EVER]),
        "probability": source.choice([0.1, 0.3, 1.0]),
    } | more
    at = said.get("at", fault.points[0])
    if isinstance(at, InjectionPoint) and not at.of_connections:
        said = {"method": _READS} | said
    return Rule(fault, **said)  # type: ignore[arg-type]


# -- slow calls and calls that end


def _slow(source: Random) -> Trouble:
    fault = Delay(source.uniform(0, 0.1), source.uniform(0, 0.4))
    at = source.choice(
        [InjectionPoint.OPEN, InjectionPoint.CONTENT, InjectionPoint.RANGE, InjectionPoint.CHUNK]
    )
    method = source.choice([_READS, *_LOOKUPS]) if at is InjectionPoint.OPEN else _READS
    return Trouble(f"delay at {at}", (_rule(fault, source, at=at, method=method),))


def _narrow(source: Random) -> Trouble:
    fault = Bandwidth(source.randrange(MIB, 8 * MIB))
    return Trouble("bandwidth of streams", (_rule(fault, source),))


def _hanging(source: Random) -> Trouble:
    at = source.choice([InjectionPoint.OPEN, InjectionPoint.CONTENT, InjectionPoint.RANGE])
    rule = _rule(Hang(), source, at=at, times=source.choice([1, 3]))
    if at is InjectionPoint.OPEN:
        rule = replace(rule, method=source.choice([_READS, *_LOOKUPS]))
    return Trouble(f"hang at {at}", (rule,))


def _refused_for_now(source: Random) -> Trouble:
    code = source.choice(
        [
            StatusCode.UNAVAILABLE,
            StatusCode.INTERNAL,
            StatusCode.ABORTED,
            StatusCode.RESOURCE_EXHAUSTED,
            StatusCode.DEADLINE_EXCEEDED,
        ]
    )
    fault = Status(code, details=source.choice(list(Details)))
    method = source.choice([_READS, *_LOOKUPS])
    return Trouble(f"{code.name} for {method}", (_rule(fault, source, method=method),))


def _ended_for_now(source: Random) -> Trouble:
    code = source.choice(
        [
            StatusCode.UNAVAILABLE,
            StatusCode.INTERNAL,
            StatusCode.ABORTED,
            StatusCode.CANCELLED,
        ]
    )
    fault = source.choice([Status(code, details=source.choice(list(Details))), EndOk()])
    at = source.choice([InjectionPoint.CONTENT, InjectionPoint.RANGE, InjectionPoint.IDLE])
    rule = _rule(fault, source, at=at)
    if at is InjectionPoint.CONTENT:
        rule = replace(rule, after_bytes=source.choice([1, 100_000, 3_000_000]))
    if at is InjectionPoint.IDLE:
        rule = replace(rule, after_seconds=source.uniform(0, 0.5))
    return Trouble(f"stream ends ({kind_name(type(fault))}) at {at}", (rule,))


# The errno that a program gets for each final status (see the table in docs/SEMANTICS.md).
_FINAL = {
    StatusCode.INVALID_ARGUMENT: "EINVAL",
    StatusCode.NOT_FOUND: "ESTALE",
    StatusCode.PERMISSION_DENIED: "EACCES",
    StatusCode.UNAUTHENTICATED: "EACCES",
    StatusCode.FAILED_PRECONDITION: "ESTALE",
    StatusCode.OUT_OF_RANGE: "EIO",
    StatusCode.DATA_LOSS: "EIO",
    StatusCode.UNKNOWN: "EIO",
}


def _refused(source: Random) -> Trouble:
    code = source.choice(list(_FINAL))
    rule = _rule(Status(code), source, times=source.choice([1, 5, 20]))
    return Trouble(f"{code.name} for reads", (rule,), excuses=frozenset({_FINAL[code]}))


def _lookups_refused(source: Random) -> Trouble:
    code = source.choice([StatusCode.PERMISSION_DENIED, StatusCode.UNKNOWN])
    method = source.choice(_LOOKUPS)
    rule = _rule(Status(code), source, method=method, times=source.choice([1, 5]))
    return Trouble(f"{code.name} for {method}", (rule,), excuses=frozenset({_FINAL[code]}))


def _without_bidi(source: Random) -> Trouble:
    rule = Rule(Status(StatusCode.UNIMPLEMENTED), method=_BIDI, times=FOR_EVER, name="no bidi")
    return Trouble("BidiReadObject is missing", (rule,))


def _redirected(source: Random) -> Trouble:
    loop = source.random() < 0.3
    fault = Redirect(handle=source.random() < 0.5, loop=loop)
    at = source.choice([InjectionPoint.OPEN, InjectionPoint.CONTENT])
    return Trouble("redirects" + loop * " in a loop", (_rule(fault, source, method=_BIDI, at=at),))


def _range_failed(source: Random) -> Trouble:
    code = source.choice([StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.DATA_LOSS])
    rule = _rule(RangeError(code), source, method=_BIDI)
    excuses = frozenset({"EIO"}) if code is StatusCode.DATA_LOSS else _NOTHING
    return Trouble(f"a range fails with {code.name}", (rule,), excuses=excuses)


# -- malformed answers


def _odd_metadata(source: Random) -> Trouble:
    fault = source.choice([OmitMetadata(), WrongGeneration()])
    excuses = frozenset({"ESTALE"}) if isinstance(fault, WrongGeneration) else _NOTHING
    return Trouble(kind_name(type(fault)), (_rule(fault, source, method=_BIDI),), excuses=excuses)


def _malformed(source: Random) -> Trouble:
    fault = source.choice([Malformed(source.choice(list(MalformedKind))), Padded(300_000)])
    method = source.choice([_READS, *_LOOKUPS])
    at = (
        source.choice([InjectionPoint.ANSWER, InjectionPoint.CHUNK])
        if method == _READS
        else InjectionPoint.ANSWER
    )
    return Trouble(
        f"{kind_name(type(fault))} {method}",
        (_rule(fault, source, method=method, at=at),),
        # After several bad answers in a row, a read fails with EIO.
        excuses=frozenset({"EIO"}) if method == _READS else _NOTHING,
        group="chunks",
    )


def _pages(source: Random) -> Trouble:
    fault = source.choice(
        [PageAgain(source.choice(list(PageTokenTarget))), PageEmpty(), PageUnsorted()]
    )
    rule = _rule(fault, source, method="ListObjects")
    return Trouble(kind_name(type(fault)), (rule,), excuses=frozenset({"EIO"}))


# Faults that move content. ReadObject states where its content starts, but not the offset of each
# message, so a client cannot detect moved content with a right checksum. Therefore these faults
# affect only BidiReadObject. HTTP/2 itself never moves content.
_MOVING = (
    ChunkDuplicated,
    ChunkStray,
    ChunkDropped,
    ChunkSwapped,
    ChunkOverlaps,
    ChunkGap,
    ChunkTooLong,
    ChunkEndsEarly,
)


def _chunks(source: Random) -> Trouble:
    fault = source.choice(
        [
            ChunkDuplicated(),
            ChunkDropped(),
            ChunkSwapped(),
            ChunkOverlaps(source.choice([1, 5000])),
            ChunkGap(source.choice([1, 5000])),
            ChunkTooLong(source.choice([1, 5000])),
            ChunkStray(source.choice([2**62, -1])),
            ChunkEmpty(),
            ChunkWithoutEnd(),
            ChunkEndsEarly(rest=source.random() < 0.5),
            ChunkWrongCrc(),
            ChunkWithoutCrc(),
            ChunkCorrupted(),
            EmptyMessage(),
        ]
    )
    method = _BIDI if isinstance(fault, _MOVING) else _READS
    return Trouble(
        kind_name(type(fault)),
        (_rule(fault, source, method=method),),
        excuses=frozenset({"EIO"}),
        group="chunks",
    )


# -- overwrites and deletions during a read


def _overwritten(source: Random) -> Trouble:
    fault = Overwrite(source.choice([0, -5000]), in_place=source.random() < 0.3)
    at = source.choice(
        [InjectionPoint.OPEN, InjectionPoint.CONTENT, InjectionPoint.RANGE, InjectionPoint.CHUNK]
    )
    rule = _rule(fault, source, at=at, object="changing/*", times=source.choice([1, 5]))
    return Trouble(f"overwritten at {at}", (rule,))


def _deleted(source: Random) -> Trouble:
    at = source.choice(
        [InjectionPoint.OPEN, InjectionPoint.CONTENT, InjectionPoint.RANGE, InjectionPoint.CHUNK]
    )
    rule = _rule(Delete(), source, at=at, object="churn/[0-9]*", times=source.choice([1, 5]))
    return Trouble(f"deleted at {at}", (rule,))


# -- connections


def _connections(source: Random) -> Trouble:
    fault = source.choice(
        [
            Reset(),
            Close(),
            HalfOpen(),
            Stall(source.uniform(0.1, 2.0)),
            PortGone(source.uniform(0.1, 2.0)),
            Goaway(),
            Goaway(source.choice([0, 2, 11]), source.choice([0, 1, 101])),
            RstStream(source.choice([0, 2, 7])),
        ]
    )
    at = source.choice([InjectionPoint.NOW, InjectionPoint.TRAFFIC])
    # At the point NOW, the fault affects all open connections immediately, so the rule has no
    # condition.
    if at is InjectionPoint.NOW:
        rule = Rule(fault, at=at, name=kind_name(type(fault)))
    else:
        after = source.choice([1000, 100_000, 5_000_000])
        rule = _rule(fault, source, at=at, after_bytes=after, times=source.choice([1, 3]))
    return Trouble(f"{kind_name(type(fault))} {at}", (rule,), group="connections")


def _far_away(source: Random) -> Trouble:
    delay = _rule(
        Delay(source.uniform(0.01, 0.1)), source, at=InjectionPoint.CONNECT, probability=1.0
    )
    reset = Rule(Reset(), at=InjectionPoint.NOW, name="reset")
    return Trouble("a longer way", (delay, reset), group="connections")


# -- processes


def _done(source: Random) -> Trouble:
    deed = source.choice(list(Deed))
    return Trouble(
        deed.value,
        deed=deed,
        seconds=source.uniform(0.2, 2.0),
        group="processes",
    )


# -- the disk of the cache


def _disk_fails(source: Random) -> Trouble:
    number = source.choice([errno.EIO, errno.EIO, errno.ESTALE, errno.EACCES])
    operations, what = source.choice(_DISK_OPERATIONS)
    probability = source.choice([0.02, 0.3, 1.0])
    fault = DiskFault(operations, errno=number, probability=probability)
    return Trouble(f"disk fails to {what}", disk=fault, group="disk")


def _disk_refuses_writes(source: Random) -> Trouble:
    number = source.choice([errno.EROFS, errno.ENOSPC, errno.EDQUOT])
    fault = DiskFault(WRITING, errno=number)
    return Trouble(f"disk answers {errno.errorcode[number]}", disk=fault, group="disk")


def _disk_hangs(source: Random) -> Trouble:
    operations, what = source.choice(_DISK_OPERATIONS)
    fault = DiskFault(operations, hangs=True, probability=source.choice([0.02, 0.3, 1.0]))
    return Trouble(f"disk hangs to {what}", disk=fault, group="disk")


def _disk_is_slow(source: Random) -> Trouble:
    operations, what = source.choice(_DISK_OPERATIONS)
    fault = DiskFault(operations, seconds=source.choice([0.005, 0.1, 1.0]))
    return Trouble(f"disk is slow to {what}", disk=fault, group="disk")


def _disk_fills(source: Random) -> Trouble:
    # Another program uses the rest of the disk.
    return Trouble("disk fills", disk_bytes=source.choice([1, 4, 16]) * MIB, group="disk")


# All kinds of troubles, each with its relative frequency.
KINDS: tuple[tuple[Callable[[Random], Trouble], int], ...] = (
    (_slow, 3),
    (_narrow, 1),
    (_hanging, 2),
    (_refused_for_now, 4),
    (_ended_for_now, 4),
    (_refused, 2),
    (_lookups_refused, 1),
    (_without_bidi, 1),
    (_redirected, 2),
    (_range_failed, 2),
    (_odd_metadata, 2),
    (_malformed, 2),
    (_pages, 2),
    (_chunks, 6),
    (_overwritten, 4),
    (_deleted, 3),
    (_connections, 5),
    (_far_away, 1),
    (_done, 3),
    (_disk_fails, 2),
    (_disk_refuses_writes, 1),
    (_disk_hangs, 2),
    (_disk_is_slow, 1),
    (_disk_fills, 2),
)
