"""Formats the status of a mount as text for people; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.control.protocol import Json

__all__ = ["shown_duration", "status_lines"]

_STEPS = ((86400, "d"), (3600, "h"), (60, "min"))


def status_lines(status: Json) -> Iterator[str]:
    """Yield the lines that describe a mount, from the answer to `status`."""
    yield f"{status['source']} on {status['mountpoint']}"
    yield (
        f"gcsmux-fs {status['version']}, process {status['pid']} of user {status['user_id']},"
        f" up {shown_duration(status['uptime_seconds'])}, log level {status['log_level']}"
    )
    if not status["healthy"]:
        ages = status["loop_ages_seconds"].items()
        blocked = " and ".join(f"{loop} for {age:.0f} s" for loop, age in ages if age > 1)
        yield f"WARNING: an event loop is blocked, so programs may wait: {blocked}"
    frozen = status.get("frozen")
    if frozen is not None:
        yield from _frozen_lines(frozen)


def _frozen_lines(frozen: Json) -> Iterator[str]:
    """Yield the lines about frozen names, whose digest may be of a moment ago."""
    state = "all there are" if frozen["is_closed"] else "so far"
    if not frozen["is_current"]:
        state = "a moment ago"
    yield f"frozen names ({state}): {frozen['names']}, digest {frozen['digest']}"
    if frozen["problem"]:
        yield f"WARNING: {frozen['problem']}"


def shown_duration(seconds: float) -> str:
    """Return a duration with its two largest units, such as `3 d 4 h`."""
    parts: list[str] = []
    rest = int(seconds)
    for length, unit in _STEPS:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join([*parts, f"{rest} s"][:2])
