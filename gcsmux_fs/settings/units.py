"""Sizes and durations, as users write them."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from gcsmux_fs.model.errors import ConfigError

__all__ = [
    "parse_duration",
    "parse_size",
    "parse_size_or_auto",
    "parse_ttl",
    "rounded_duration",
    "rounded_size",
    "show_duration",
    "show_size",
]

# The value of the word `minimal` in seconds. One `ls -l` needs each answer of the service twice,
# and within 1 s the second use takes the answer from the cache.
_MINIMAL_TTL_SECONDS = 1.0

_SIZE = re.compile(r"(?P<number>[0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)

# K, M, G and T without B are powers of 1024, as in dd, qemu and systemd. KB, MB, GB and TB are
# powers of 1000, as in SI.
_BYTES_PER_UNIT = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _BYTES_PER_UNIT[_letter] = _BYTES_PER_UNIT[f"{_letter}ib"] = 1024**_power
    _BYTES_PER_UNIT[f"{_letter}b"] = 1000**_power

_DURATION_PART = re.compile(r"(?P<number>[0-9]{1,20}(?:\.[0-9]{1,20})?)(?P<unit>[a-zµ]+)")
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
    """Return a size in bytes: `64MiB`, `1.5G`, `100MB`, or a number of bytes without a unit.

    Raises:
        ConfigError: the text is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _BYTES_PER_UNIT.get(match["unit"].lower()) if match else None
    if match is None or factor is None:
        raise ConfigError(
            f"{text!r} is not a size: write a number with B, KiB, MiB, GiB or TiB, such as 64MiB."
        )
    return int(Fraction(match["number"]) * factor)


def parse_size_or_auto(text: str) -> int | None:
    """Return a size in bytes, or None for the word `auto`.

    Raises:
        ConfigError: the text is neither a size nor the word.
    """
    if text.strip().lower() == "auto":
        return None
    try:
        return parse_size(text)
    except ConfigError as error:
        sentence = str(error).removesuffix(".")
        raise ConfigError(f"{sentence}, or write auto.") from None


def show_size(size: int) -> str:
    """Return the shortest text that `parse_size` reads as exactly `size`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _BYTES_PER_UNIT[unit.lower()]
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def rounded_size(size: float) -> str:
    """Return a size in bytes for people, with three or four digits, such as `1.50 GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        # 1,023.6 KiB would be shown as 1024 KiB, so it is shown in MiB.
        if size >= 0.9995 * _BYTES_PER_UNIT[unit.lower()]:
            number = size / _BYTES_PER_UNIT[unit.lower()]
            return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"
    return f"{size:.0f} B"


def rounded_duration(seconds: float) -> str:
    """Return a duration in seconds for people, with three digits, such as `20.3 ms`."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= 0.9995 * factor:
            number = seconds / factor
            return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"
    return "0 us"


def parse_duration(text: str) -> float:
    """Return a duration in seconds: `30s`, `5ms`, `1m30s`, `2h`, or `0`.

    Every number except 0 needs a unit, because some programs read a number without a unit as
    seconds and others as milliseconds.

    Raises:
        ConfigError: the text is not a duration.
    """
    stripped = text.strip().lower()
    if re.fullmatch(r"0+(\.0+)?", stripped):
        return 0.0
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", stripped):
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
            f"{text!r} is not a duration: write numbers with ms, s, m, h or d, such as 1m30s."
        )
    return seconds


def show_duration(seconds: float) -> str:
    """Return a text from which `parse_duration` reads the same duration."""
    return f"{seconds:g}s"


def parse_ttl(text: str) -> float:
    """Return a time to live in seconds: a duration, `minimal` (1 s) or `indefinite` (infinity).

    Raises:
        ConfigError: the text is neither a duration nor one of the two words.
    """
    words = {"minimal": _MINIMAL_TTL_SECONDS, "indefinite": math.inf}
    word = text.strip().lower()
    if word in words:
        return words[word]
    try:
        return parse_duration(text)
    except ConfigError as error:
        sentence = str(error).removesuffix(".")
        raise ConfigError(f"{sentence}, or write minimal or indefinite.") from None
