"""Faults below gRPC, made by the relay in front of the emulator."""

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

# The highest stream of HTTP/2: a GOAWAY with it lets every open stream go on.
_LAST_STREAM = 2**31 - 1
_ON_CONNECTIONS = (InjectionPoint.NOW, InjectionPoint.CONNECT, InjectionPoint.TRAFFIC)


@dataclass(frozen=True, slots=True)
class Reset(Fault):
    """End the connection with a TCP RST."""

    phases = _ON_CONNECTIONS
    ends = True


@dataclass(frozen=True, slots=True)
class Close(Fault):
    """Close the connection in order, without a word of HTTP/2."""

    phases = _ON_CONNECTIONS
    ends = True


@dataclass(frozen=True, slots=True)
class HalfOpen(Fault):
    """Keep the connection, swallow all that comes and never send anything again."""

    phases = _ON_CONNECTIONS
    ends = True


@dataclass(frozen=True, slots=True)
class Stall(Fault):
    """Pass nothing on in either direction for so long."""

    phases = _ON_CONNECTIONS
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class PortGone(Fault):
    """Reset all connections and refuse new ones for so long."""

    phases = _ON_CONNECTIONS
    ends = True
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Goaway(Fault):
    """Send a GOAWAY frame; the connection itself goes on."""

    phases = (InjectionPoint.NOW, InjectionPoint.TRAFFIC)
    error_code: int = 0
    last_stream_id: int = _LAST_STREAM
    debug: str = ""


@dataclass(frozen=True, slots=True)
class RstStream(Fault):
    """Reset, on both sides, the HTTP/2 stream that was the last to carry data to the client."""

    phases = (InjectionPoint.NOW, InjectionPoint.TRAFFIC)
    error_code: int = 2
