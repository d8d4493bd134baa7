"""Choices that a simulated crash makes: all combinations one by one, random ones, or hypothesis's.

A crash asks `pick(count)` for each decision and gets a number below `count`. The number 0 always
means "nothing was lost", so hypothesis shrinks an example to the few losses that matter.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

__all__ = ["Choices", "DrawnChoices", "NoLoss", "RandomChoices", "every_choice"]


class Choices(Protocol):
    """The source of decisions."""

    def pick(self, count: int) -> int:
        """Return a number from 0 to `count - 1`."""


class NoLoss:
    """Loses nothing: the crash of a process on a machine that keeps running."""

    def pick(self, count: int) -> int:
        """Return 0."""
        return 0


class RandomChoices:
    """Loses something with the given probability at each decision."""

    def __init__(self, random: Random, loss: float) -> None:
        self._random = random
        self._loss = loss

    def pick(self, count: int) -> int:
        """Return 0, or with the probability `loss` another number."""
        if count < 2 or self._random.random() >= self._loss:
            return 0
        return self._random.randrange(1, count)


class DrawnChoices:
    """Lets hypothesis decide."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def pick(self, count: int) -> int:
        """Draw a number."""
        return self._data.draw(st.integers(0, count - 1)) if count > 1 else 0


class _FixedChoices:
    """Makes the first decisions as given, and picks 0 for each further one."""

    def __init__(self, picked: list[int]) -> None:
        self._picked = picked
        self.made: list[tuple[int, int]] = []

    def pick(self, count: int) -> int:
        place = len(self.made)
        choice = self._picked[place] if place < len(self._picked) else 0
        self.made.append((choice, count))
        return choice


def every_choice(max_losses: int | None = None) -> Iterator[Choices]:
    """Yield choices until all combinations have been made.

    The caller makes all its decisions with each of the yielded objects before it takes the next
    one. With `max_losses`, only the combinations with at most so many numbers above 0 are made.
    """
    picked: list[int] = []
    while True:
        choices = _FixedChoices(picked)
        yield choices
        made = choices.made
        for place in reversed(range(len(made))):
            choice, count = made[place]
            losses = sum(earlier > 0 for earlier, _ in made[:place])
            if choice + 1 < count and (max_losses is None or losses < max_losses):
                picked = [*(each for each, _ in itertools.islice(made, place)), choice + 1]
                break
        else:
            return
