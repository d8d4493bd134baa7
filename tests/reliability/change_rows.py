"""The rows of the table with faults of the feed of changes (`--changes`)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import (
    AckLost,
    Delay,
    EndOk,
    Hang,
    InjectionPoint,
    LeaseExpired,
    MessageDuplicated,
    MessageHeldBack,
    Status,
)
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.reliability.rows import described

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CHANGE_ROWS", "ChangeRow", "Deed", "Show", "injected_into_feed"]

_METHOD = "StreamingPull"


class Show(enum.Enum):
    """When changes show; the value is the text in the document."""

    TOLD = "when their messages arrive"
    AFTER_FAULT = "when the fault has ended"
    AFTER_TTL = "after `--metadata-ttl`"


class Deed(enum.Enum):
    """What is done besides the rules; the value is the text in the document."""

    NOTHING = ""
    UNSUBSCRIBE = "the subscription is deleted"
    NO_ENDPOINT = "no server listens at the address of Pub/Sub"


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One fault of the feed and its expected outcome.

    Attributes:
        fault: the name of the row in the document.
        rules: the fault rules for the emulator; all are about the subscription of the mount.
        deed: what is done besides.
        show: when changes show. Unless it is `AFTER_TTL`, the TTL of the mount is an hour.
        state: the state of the feed after the changes.
        metrics: the minimum increase of each metric; 0 means that the metric must not increase.
        is_ordered: whether messages arrive so soon that no answer of the service is ahead of them.
            Otherwise, a listing may show an older state than a look-up until the message arrives.
    """

    fault: str
    rules: tuple[Rule, ...] = ()
    deed: Deed = Deed.NOTHING
    show: Show = Show.TOLD
    state: str = "healthy"
    metrics: Mapping[str, int] = field(default_factory=dict)
    is_ordered: bool = True


def injected_into_feed(row: ChangeRow) -> str:
    """Return the text that describes the fault of a row in the document."""
    return "; ".join([*map(described, row.rules), *([row.deed.value] if row.deed.value else [])])


def _rule(fault: object, at: InjectionPoint | None, **more: object) -> Rule:
    said = {"times": FOR_EVER, "method": _METHOD} | more
    return Rule(fault, at=at, **said)  # type: ignore[arg-type]


_DELIVERY = InjectionPoint.DELIVERY
_UNBROKEN = {"changes_interruptions": 0, "changes_gaps": 0}
_IDLE_END = {"at": InjectionPoint.IDLE, "after_seconds": 0.01}

CHANGE_ROWS: tuple[ChangeRow, ...] = (
    ChangeRow(
        "messages are delivered twice",
        (_rule(MessageDuplicated(0.2), _DELIVERY),),
        metrics=_UNBROKEN,
    ),
    ChangeRow(
        "messages arrive in another order",
        (_rule(MessageHeldBack(3, 0.3), _DELIVERY, probability=0.4),),
        is_ordered=False,
        metrics=_UNBROKEN,
    ),
    ChangeRow(
        "messages are late",
        (_rule(Delay(0.1, 0.3), _DELIVERY),),
        is_ordered=False,
        metrics=_UNBROKEN,
    ),
    ChangeRow(
        "acknowledgements are lost",
        (_rule(AckLost(0.2), InjectionPoint.ACK),),
        metrics=_UNBROKEN,
    ),
    ChangeRow(
        "acknowledgement deadlines expire",
        (_rule(LeaseExpired(), _DELIVERY),),
        metrics=_UNBROKEN,
    ),
    ChangeRow(
        "the service ends streams, as it does after half an hour",
        (Rule(Status(StatusCode.UNAVAILABLE), method=_METHOD, times=2, **_IDLE_END),),  # type: ignore[arg-type]
        metrics={**_UNBROKEN, "changes_streams_opened": 1},
    ),
    ChangeRow(
        "a stream ends with OK before a message",
        (_rule(EndOk(), _DELIVERY, times=2),),
        metrics={**_UNBROKEN, "changes_streams_opened": 1},
    ),
    ChangeRow(
        "a stream is silent",
        (_rule(Hang(), _DELIVERY),),
        show=Show.AFTER_FAULT,
        is_ordered=False,
        metrics=_UNBROKEN,
    ),
    ChangeRow(
        "the subscription is gone",
        deed=Deed.UNSUBSCRIBE,
        show=Show.AFTER_TTL,
        state="lost",
        is_ordered=False,
        metrics={"changes_interruptions": 1},
    ),
    ChangeRow(
        "the permission is taken away",
        (
            _rule(Status(StatusCode.PERMISSION_DENIED), InjectionPoint.OPEN),
            Rule(Status(StatusCode.UNAVAILABLE), method=_METHOD, **_IDLE_END),  # type: ignore[arg-type]
        ),
        show=Show.AFTER_TTL,
        state="lost",
        is_ordered=False,
        metrics={"changes_interruptions": 1},
    ),
    ChangeRow(
        "Pub/Sub cannot be reached from the start on",
        deed=Deed.NO_ENDPOINT,
        show=Show.AFTER_TTL,
        state="interrupted",
        is_ordered=False,
        metrics={"changes_received": 0},
    ),
)
