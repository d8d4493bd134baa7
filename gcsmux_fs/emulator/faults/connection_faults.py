"""Faults of TCP connections and of HTTP/2. The TCP proxy causes these faults."""

from __future__ import annotations

from dataclasses import dataclass

from gcsmux_fs.emulator.faults.injection_points import Fault, InjectionPoint

__all__ = [
    "Close",
    "Goaway",
    "HalfOpen",
    "PortGone",
    "Reset",
    "RstStream",
    "Stall",
]

# The highest stream id of HTTP/2. A GOAWAY with this id ends no open stream.
_MAX_STREAM_ID = 2**31 - 1
_ANY_CONNECTION_POINT = (InjectionPoint.NOW, InjectionPoint.CONNECT, InjectionPoint.TRAFFIC)


@dataclass(frozen=True, slots=True)
class Reset(Fault):
    """End the connection with a TCP RST."""

    points = _ANY_CONNECTION_POINT
    terminal = True


@dataclass(frozen=True, slots=True)
class Close(Fault):
    """Close the connection with a TCP FIN, without an HTTP/2 GOAWAY."""

    points = _ANY_CONNECTION_POINT
    terminal = True


@dataclass(frozen=True, slots=True)
class HalfOpen(Fault):
    """Keep the connection open, discard all bytes from the client, and send nothing more."""

    points = _ANY_CONNECTION_POINT
    terminal = True


@dataclass(frozen=True, slots=True)
class Stall(Fault):
    """Pass no bytes in either direction for `seconds`."""

    points = _ANY_CONNECTION_POINT
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class PortGone(Fault):
    """Reset all connections, and refuse new connections for `seconds`."""

    points = _ANY_CONNECTION_POINT
    terminal = True
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Goaway(Fault):
    """Send an HTTP/2 GOAWAY frame to the client. The connection stays open."""

    points = (InjectionPoint.NOW, InjectionPoint.TRAFFIC)
    error_code: int = 0
    last_stream_id: int = _MAX_STREAM_ID
    debug: str = ""


@dataclass(frozen=True, slots=True)
class RstStream(Fault):
    """Send RST_STREAM to both sides, for the HTTP/2 stream that last sent data to the client."""

    points = (InjectionPoint.NOW, InjectionPoint.TRAFFIC)
    error_code: int = 2
