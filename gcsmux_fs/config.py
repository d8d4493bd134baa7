"""Settings: what a user may say, how it is read, and the reasoned defaults."""

from __future__ import annotations

import re

from gcsmux_fs.errors import ConfigError

__all__ = ["parse_duration", "parse_size"]

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]*)", re.ASCII | re.IGNORECASE)

# K, M, G and T alone are binary, as in dd, qemu and systemd; KB to TB are decimal, as in SI.
_BYTES_PER_UNIT = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _BYTES_PER_UNIT[_letter] = _BYTES_PER_UNIT[f"{_letter}ib"] = 1024**_power
    _BYTES_PER_UNIT[f"{_letter}b"] = 1000**_power

_DURATION_PART = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[a-zµ]+)")
_SECONDS_PER_UNIT = {
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


def parse_size(text: str) -> int:
    """Return the bytes that `text` names: `64MiB`, `1.5G`, `100MB`, or a plain number of bytes.

    Raises:
        ConfigError: one sentence that tells what is wrong and what to write instead.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _BYTES_PER_UNIT.get(match["unit"].lower()) if match else None
    if match is None or factor is None:
        raise ConfigError(
            f"{text!r} is not a size: write a number with B, KiB, MiB, GiB or TiB, such as 64MiB."
        )
    number = match["number"]
    return int(number) * factor if number.isdigit() else int(float(number) * factor)


def parse_duration(text: str) -> float:
    """Return the seconds that `text` names: `30s`, `5ms`, `1m30s`, `2h`, or `0`.

    A unit is asked for, because a bare number would mean seconds to one reader and milliseconds
    to the next; zero is the same in all of them.

    Raises:
        ConfigError: one sentence that tells what is wrong and what to write instead.
    """
    stripped = text.strip().lower()
    if re.fullmatch(r"0+(\.0+)?", stripped):
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", stripped, re.ASCII):
        raise ConfigError(f"{text!r} has no unit: write {stripped}s or {stripped}ms.")
    seconds = 0.0
    position = 0
    while match := _DURATION_PART.match(stripped, position):
        if match["unit"] not in _SECONDS_PER_UNIT:
            break
        seconds += float(match["number"]) * _SECONDS_PER_UNIT[match["unit"]]
        position = match.end()
    if position == 0 or position != len(stripped):
        raise ConfigError(
            f"{text!r} is not a duration: write numbers with ms, s, m, h or d, such as 30s or 1m30s."
        )
    return seconds
