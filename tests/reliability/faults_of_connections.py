"""Rows with faults of TCP and HTTP/2 connections."""

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
from tests.reliability.rows import LONG, PROXIED, SHORT, Group, MountKind, Reader, Row

__all__ = ["GROUPS"]

# Each row with these options gets its own mount, because later rows could not use the same mount.
_SHORT_AND_PROXIED = MountKind(SHORT.options, proxied=True, own=True)
# Each row with these options gets a new mount, whose streams have no connection yet.
_NEW = MountKind(PROXIED.options, proxied=True, own=True)


def _broken(
    name: str,
    rule: Rule,
    *,
    requests: int = 10,
    counters: dict[str, int] | None = None,
    mount: MountKind = PROXIED,
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
            "connections are reset repeatedly",
            Rule(Reset(), at=InjectionPoint.TRAFFIC, after_bytes=700_000, times=4),
            requests=16,
        ),
        _broken(
            "a connection is closed",
            Rule(Close(), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
        ),
        Row(
            "a connection is half open: bytes sent on it are lost",
            (Rule(HalfOpen(), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),),
            requests=10,
            mount=_SHORT_AND_PROXIED,
            counters={"streams_reopened": 1},
        ),
        _broken(
            "a connection stalls for one second",
            Rule(Stall(1.0), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
            counters={"streams_failed": 0},
        ),
        _broken(
            "the port is closed for one second",
            Rule(PortGone(1.0), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
            requests=12,
        ),
        _broken(
            "the port is closed for a minute",
            Rule(PortGone(60.0), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
            requests=12,
            mount=LONG,
        ),
        Row(
            "the port is closed for a minute, before a lookup",
            (Rule(PortGone(60.0), at=InjectionPoint.NOW),),
            requests=24,
            reader=Reader.NAMES,
            mount=LONG,
            counters={"retries": 1},
        ),
        _broken(
            "GOAWAY, open streams continue",
            Rule(Goaway(), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
            counters={"streams_failed": 0},
        ),
        _broken(
            "GOAWAY, all streams end",
            Rule(Goaway(last_stream_id=0), at=InjectionPoint.TRAFFIC, after_bytes=1_000_000),
        ),
        _broken(
            "GOAWAY with ENHANCE_YOUR_CALM",
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
            "connections of 4 MB/s",
            Rule(Bandwidth(4_000_000), at=InjectionPoint.CONNECT, times=FOR_EVER),
            counters={"streams_failed": 0},
            mount=_NEW,
        ),
        _broken(
            "connections with a delay of 100 ms",
            Rule(Delay(0.1), at=InjectionPoint.CONNECT, times=FOR_EVER),
            counters={"streams_failed": 0},
            mount=_NEW,
        ),
    ),
)

GROUPS = (_BREAKS,)
