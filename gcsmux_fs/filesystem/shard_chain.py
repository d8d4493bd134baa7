"""Decides which file a program will open after a large file of the same directory; sans-IO.

Theory of operation. A program that loads a model opens its shards one after the other. Each shard
costs round trips before its readahead has a full window. So the readahead continues beyond the end
of a file: when a file is nearly fetched, the start of the next one is fetched. The next file has
the next number, or follows in the listing. A chain covers the files of one directory with one
suffix, and several programs or threads may read different files of it.

The next file is a guess, so the chain needs credit. The names of a numbered set
(`model-00001-of-00008`) give credit to begin with. For other names, the program must first open the
expected file once. A guess that no program reads takes credit away.

Invariants:
1. No file is suggested that was read or suggested before, until the chain has forgotten it.
2. Nothing is suggested without credit, so a program that reads large files in random order causes
   no prefetch, apart from chance.
3. The bytes allowed for a suggestion are at most half of the bytes of the files that were read in
   order, so that wrong guesses add at most half to the bytes that are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gcsmux_fs.filesystem.shard_names import is_numbered_set

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_CREDIT", "ShardChain", "SuccessorRule"]

SuccessorRule = Callable[[str], str | None]
"""Returns the name of the file that follows the file of a given name, or None."""

MAX_CREDIT = 2
"""Maximum number of guesses in a row that may fail. Each file that is read as expected adds one."""

# Maximum number of file names that a chain remembers as read or suggested.
_MAX_TAKEN = 256
# Maximum number of file names that a chain expects: the files after the last few that were read. In
# random order the next file is rarely one of them.
_MAX_EXPECTED = 8
# Maximum number of read or suggested files that a search for the next file passes. Eight threads
# that divide a list among them are at most eight files apart.
_MAX_HOPS = 16


class ShardChain:
    """The large files of one directory with one suffix, in the order in which they are read."""

    __slots__ = ("_credit", "_expected", "_read_bytes", "_rule", "_taken")

    def __init__(self, first_name: str) -> None:
        self._credit = 1 if is_numbered_set(first_name) else 0
        #: The names of the files after the last read files, with the number of the rule.
        self._expected: dict[str, int] = {}
        #: The names of files that were read or suggested, with the number of a rule.
        self._taken: dict[str, int] = {}
        self._read_bytes = 0
        #: The number of the rule that predicted the last file that was read as expected.
        self._rule = 0

    def __repr__(self) -> str:
        return f"<ShardChain of {len(self._taken)} files, credit {self._credit}>"

    @property
    def allowed_bytes(self) -> int:
        """The number of bytes that may be fetched ahead of all readers now (invariants 2, 3)."""
        return self._read_bytes // 2 if self._credit > 0 else 0

    def note_read(self, name: str, size: int, rules: Sequence[SuccessorRule]) -> None:
        """Record that a program begins to read the file `name` of `size` bytes from its start.

        `rules` returns the name that follows a name, each rule in its own way.
        """
        expected_by = self._expected.pop(name, None)
        if expected_by is not None:
            self._credit = min(max(self._credit, 0) + 1, MAX_CREDIT)
            self._rule = expected_by
            self._read_bytes += size
        elif name not in self._taken:
            self._read_bytes = size
        _remember(self._taken, name, self._rule, _MAX_TAKEN)
        # If several rules lead to one name, the first rule counts.
        for number, following in reversed([*enumerate([rule(name) for rule in rules])]):
            if following is not None and following not in self._taken:
                _remember(self._expected, following, number, _MAX_EXPECTED)

    def upcoming(self, name: str, rules: Sequence[SuccessorRule]) -> str | None:
        """Return the name that `suggest` would return; change nothing."""
        return self._choose(name, rules)[0]

    def suggest(self, name: str, rules: Sequence[SuccessorRule]) -> str | None:
        """Return the name of the file to fetch after `name`, and count it as suggested."""
        following, number = self._choose(name, rules)
        if following is not None:
            _remember(self._taken, following, number, _MAX_TAKEN)
            _remember(self._expected, following, number, _MAX_EXPECTED)
        return following

    def note_unread(self, name: str) -> None:
        """Record that no program has read the suggested file `name` for a long time."""
        self._credit -= 1
        self._taken.pop(name, None)

    def _choose(self, name: str, rules: Sequence[SuccessorRule]) -> tuple[str | None, int]:
        """Return the next name and the number of its rule; the rule that was right comes first."""
        for number in sorted(range(len(rules)), key=lambda number: number != self._rule):
            following = self._first_untaken(name, rules[number])
            if following is not None:
                return following, number
        return None, 0

    def _first_untaken(self, name: str, rule: SuccessorRule) -> str | None:
        for _ in range(_MAX_HOPS):
            following = rule(name)
            if following is None or following not in self._taken:
                return following
            name = following
        return None


def _remember(names: dict[str, int], name: str, rule: int, limit: int) -> None:
    names.pop(name, None)
    names[name] = rule
    if len(names) > limit:
        del names[next(iter(names))]
