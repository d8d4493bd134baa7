"""The filters of subscriptions: conditions on the attributes of messages.

    attributes.eventType = "OBJECT_DELETE" OR attributes:overwroteGeneration
    NOT hasPrefix(attributes.objectId, "logs/")

AND and OR cannot be mixed without parentheses. `-` means the same as NOT.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.rpc_error import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AttributeFilter", "parse_filter"]

# A function that returns whether a subscription receives a message with these attributes.
AttributeFilter = Callable[[Mapping[str, str]], bool]

_TOKENS = re.compile(r'\s*("(?:[^"\\]|\\.)*"|!=|[=:.(),-]|[A-Za-z0-9_]+)')
_ATTRIBUTES = ("attributes", ".")


def parse_filter(text: str) -> AttributeFilter | None:
    """Return the filter in `text`; None if the text is empty.

    Raises:
        RpcError: the text is no filter (INVALID_ARGUMENT).
    """
    if not text.strip():
        return None
    parser = _Parser(_split(text), text)
    parsed = parser.expression()
    if parser.rest:
        raise parser.error()
    return parsed


def _split(text: str) -> list[str]:
    tokens = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKENS.match(text, position)
        if match is None:
            raise invalid(f"Not a valid filter at character {position + 1}: {text!r}.")
        tokens.append(match[1])
        position = match.end()
    return tokens


class _Parser:
    """Parses tokens from left to right."""

    def __init__(self, tokens: Sequence[str], text: str) -> None:
        self.rest = list(tokens)
        self._text = text

    def error(self) -> Exception:
        """Return the error that names the next token."""
        found = repr(self.rest[0]) if self.rest else "its end"
        return invalid(f"Not a valid filter at {found}: {self._text!r}.")

    def expression(self) -> AttributeFilter:
        """Parse conditions that are joined by AND, or by OR."""
        terms = [self._condition()]
        joint = self.rest[0] if self.rest and self.rest[0] in ("AND", "OR") else ""
        while joint and self.rest and self.rest[0] == joint:
            self.rest.pop(0)
            terms.append(self._condition())
        if joint == "OR":
            return lambda attributes: any(term(attributes) for term in terms)
        return lambda attributes: all(term(attributes) for term in terms)

    def _condition(self) -> AttributeFilter:
        token = self._next()
        if token in ("NOT", "-"):
            negated = self._condition()
            return lambda attributes: not negated(attributes)
        if token == "(":
            inner = self.expression()
            self._expect(")")
            return inner
        if token == "hasPrefix":
            return self._has_prefix()
        if token == _ATTRIBUTES[0]:
            return self._comparison()
        self.rest.insert(0, token)
        raise self.error()

    def _has_prefix(self) -> AttributeFilter:
        self._expect("(")
        for expected in _ATTRIBUTES:
            self._expect(expected)
        key = self._word()
        self._expect(",")
        prefix = self._string()
        self._expect(")")
        return lambda attributes: attributes.get(key, "").startswith(prefix) and key in attributes

    def _comparison(self) -> AttributeFilter:
        if self.rest[:1] == [":"]:
            self.rest.pop(0)
            present = self._word()
            return lambda attributes: present in attributes
        self._expect(".")
        key = self._word()
        operator = self._next()
        value = self._string()
        if operator == "=":
            return lambda attributes: attributes.get(key) == value
        if operator == "!=":
            return lambda attributes: key in attributes and attributes[key] != value
        raise self.error()

    def _word(self) -> str:
        token = self._next()
        return json.loads(token) if token.startswith('"') else token

    def _string(self) -> str:
        token = self._next()
        if not token.startswith('"'):
            self.rest.insert(0, token)
            raise self.error()
        return str(json.loads(token))

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise self.error()

    def _next(self) -> str:
        if not self.rest:
            raise self.error()
        return self.rest.pop(0)
