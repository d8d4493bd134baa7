"""Names of the files that one data set is divided into (shards); sans-IO.

Model files are usually named `model-00001-of-00008.safetensors`, other shards `part-0001.bin` or
`data.003`. A name only suggests the next name: the caller must find out whether the file exists.
"""

from __future__ import annotations

import re

__all__ = ["is_numbered_set", "next_numbered"]

# The number is the last one of the name, except for the count after `-of-` and for digits of the
# suffix, as in `.mp4` and `.h5`.
_NUMBERED = re.compile(r"(.*?)(\d+)(-of-(\d+))?(\D*(?:\.\w{1,12})?)", re.ASCII | re.DOTALL)


def is_numbered_set(name: str) -> bool:
    """Return whether a file name has a number and a count, as in `model-00001-of-00008.gguf`."""
    match = _NUMBERED.fullmatch(name)
    return match is not None and match[3] is not None


def next_numbered(name: str) -> str | None:
    """Return the file name with the next number; None if there is no number or it is the last.

    Leading zeros are kept: `part-009` leads to `part-010`.
    """
    match = _NUMBERED.fullmatch(name)
    if match is None:
        return None
    number = int(match[2]) + 1
    if match[4] is not None and number > int(match[4]):
        return None
    return f"{match[1]}{number:0{len(match[2])}}{match[3] or ''}{match[5]}"
