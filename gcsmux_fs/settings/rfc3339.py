"""Times as RFC 3339 writes them, such as 2026-11-30T12:00:00Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from gcsmux_fs.model.errors import ConfigError

__all__ = ["parse_time", "show_time"]

_NS_PER_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})[Tt ](?P<time>\d{2}:\d{2}:\d{2})(?:\.(?P<fraction>\d{1,9}))?"
    r"(?P<zone>[Zz]|[+-]\d{2}:\d{2})",
    re.ASCII,
)
_EXAMPLE = "2026-11-30T12:00:00Z"


def parse_time(text: str) -> int:
    """Return a time in nanoseconds since 1970.

    The zone is required, because a time without one means another moment on another machine. There
    are no relative times, because they mean another moment after a restart.

    Raises:
        ConfigError: the text is not a time with a zone.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            f"{text!r} is not a time with a zone: write date, time and zone, such as {_EXAMPLE} or"
            " 2026-11-30T13:00:00+01:00."
        )
    zone = match["zone"].upper().replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{match['time']}{zone}")
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a time: {error}: write a time such as {_EXAMPLE}."
        ) from None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return seconds * _NS_PER_SECOND + int((match["fraction"] or "").ljust(9, "0"))


def show_time(time_ns: int) -> str:
    """Return the shortest text in UTC from which `parse_time` reads exactly `time_ns`."""
    seconds, nanos = divmod(time_ns, _NS_PER_SECOND)
    moment = _EPOCH + timedelta(seconds=seconds)
    fraction = f".{nanos:09}".rstrip("0") if nanos else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
