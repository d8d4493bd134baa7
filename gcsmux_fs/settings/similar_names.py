"""Finds the name that a user probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["closest_name"]


def closest_name(name: str, known: Iterable[str], *, similarity: float = 0.6) -> str | None:
    """Return the element of `known` that is most similar to `name`; None if none is similar.

    `similarity` is the smallest accepted ratio of `difflib`, from 0 (any name) to 1 (the same).
    """
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=similarity)
    return next(iter(found), None)
