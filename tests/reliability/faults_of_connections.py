"""What happens to connections, below gRPC."""

from __future__ import annotations

from gcsmux_fs.emulator.faults import (
    Bandwidth,
    Close,
    Delay,
    Goaway,
    HalfOpen,
    InjectionPoint,
    PortGone,
    Reset,
    RstStream,
    Stall,
)
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from tests.reliability.rows import HASTY, LASTING, RELAYED, Group, MountKind, Reader, Row

__all__ = ["GROUPS"]

# The mount is of no use to later rows.
_HASTY_AND_RELAYED = MountKind(HASTY.options, relayed=True, own=True)
# Streams have no connection yet.
_NEW = MountKind(RELAYED.options, relayed=True, own=True)


def _broken(
    name: str,
    rule: Rule,
    *,
    requests: int = 10,
    counters: dict[str, int] | None = None,
    mount: MountKind = RELAYED,
) -> Row:
    counted = {"streams_reopened": 1} if counters is None else counters
    return Row(name, (rule,), requests=requests, mount=mount, counters=counted)


_BREAKS = Group(
    "Connections",
    (
        _broken(
            "a connection is reset", Rule(Reset(), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000)
        ),
        _broken(
            "connections are reset again and again",
            Rule(Reset(), at=InjectionPoint.TRAFFIC, after_bytes=700_000, times=4),
            requests=16,
        ),
        _broken(
            "a connection is closed",
            Rule(Close(), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
        ),
        Row(
            "a connection is half open: what is sent on it is lost",
            (Rule(HalfOpen(), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),),
            requests=10,
            mount=_HASTY_AND_RELAYED,
            counters={"streams_reopened": 1},
        ),
        _broken(
            "a connection stands still for a while",
            Rule(Stall(1.0), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
            counters={"streams_failed": 0},
        ),
        _broken(
            "the port is gone for a while",
            Rule(PortGone(1.0), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
            requests=12,
        ),
        _broken(
            "the port is gone for a minute",
            Rule(PortGone(60.0), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
            requests=12,
            mount=LASTING,
        ),
        Row(
            "the port is gone for a minute, before a name is looked up",
            (Rule(PortGone(60.0), at=InjectionPoint.NOW),),
            requests=24,
            reader=Reader.NAMES,
            mount=LASTING,
            counters={"retries": 1},
        ),
        _broken(
            "GOAWAY, and streams that are open go on",
            Rule(Goaway(), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
            counters={"streams_failed": 0},
        ),
        _broken(
            "GOAWAY, and no stream goes on",
            Rule(Goaway(last_stream_id=0), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
        ),
        _broken(
            "GOAWAY for calm (ENHANCE_YOUR_CALM)",
            Rule(
                Goaway(error_code=11, last_stream_id=0, debug="calm down"),
                at=InjectionPoint.TRAFFIC,
                after_bytes=1_000_000,
            ),
        ),
        *(
            _broken(
                f"RST_STREAM with {name}",
                Rule(RstStream(code), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
            )
            for name, code in (
                ("INTERNAL_ERROR", 2),
                ("REFUSED_STREAM", 7),
                ("CANCEL", 8),
                ("ENHANCE_YOUR_CALM", 11),
            )
        ),
        _broken(
            "a slow and narrow line",
            Rule(Bandwidth(4_000_000), at=InjectionPoint.CONNECT, times=FOR_EVER),
            counters={"streams_failed": 0},
            mount=_NEW,
        ),
        _broken(
            "a long line",
            Rule(Delay(0.1), at=InjectionPoint.CONNECT, times=FOR_EVER),
            counters={"streams_failed": 0},
            mount=_NEW,
        ),
    ),
)

GROUPS = (_BREAKS,)
