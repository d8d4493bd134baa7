"""The number of examples that hypothesis generates for a test."""

from __future__ import annotations

from hypothesis import settings

__all__ = ["examples"]

_DEFAULT_EXAMPLES = 100


def examples(complete: int) -> int:
    """Return the number of examples for a test.

    The number is `complete`, or less if a hypothesis profile such as `fast` lowers the default.
    """
    default = settings().max_examples
    return complete if default >= _DEFAULT_EXAMPLES else min(complete, default)
