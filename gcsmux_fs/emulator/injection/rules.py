"""Rules that order faults: where, how often and what; in Python, and the same in JSON.

    internal = Status(StatusCode.INTERNAL)
    Faults((Rule(internal, at=InjectionPoint.CONTENT, after_bytes=1000, times=2),))

    {"rules": [{"fault": {"kind": "status", "code": "INTERNAL"},
                "at": "content", "after_bytes": 1000, "times": 2}]}

A rule sees an opportunity whenever its place comes about (see `InjectionPoint`). It passes over
the first `skip` of them, then over each with a chance of 1 - `probability`, and fires at the others
until it has done so `times` times. What is decided at a rule's n-th opportunity depends on `seed`,
the rule's position and n alone, so that a run with the same opportunities has the same faults.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults.catalogue import (
    KINDS,
    Details,
    Fault,
    InjectionPoint,
    Spoiling,
    Turn,
    kind_name,
)
from gcsmux_fs.emulator.rpc_error import invalid
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FOR_EVER", "Faults", "Rule"]

FOR_EVER = -1
# What may be said of a rule beside its fault, and the phases where it means something.
_ONLY_AT = {
    "after_bytes": (InjectionPoint.CONTENT, InjectionPoint.TRAFFIC),
    "after_seconds": (InjectionPoint.IDLE,),
    "nth": (InjectionPoint.RANGE, InjectionPoint.CHUNK),
    "covers": (InjectionPoint.RANGE, InjectionPoint.CHUNK),
}
_ONLY_OF_CALLS = ("method", "object", "resumed")
_NUMBERS = ("after_bytes", "after_seconds", "nth", "covers", "skip")


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault, where it happens, and how often.

    - `method` and `object` are patterns as of a shell (`*` also stands for slashes); the object of
      a listing is its prefix.
    - `resumed` asks for calls that go on from an earlier one, with a read handle or a page token
      (true), or for those that do not (false).
    - `at` is a `InjectionPoint`; None is the one where the kind of fault usually happens.
    - `after_bytes` and `after_seconds` belong to the phases of that description; bytes count from
      the begin of the call or connection, or from the order, if that was later.
    - `nth` counts the ranges or chunks of a stream from 1 (0: any); `covers` asks for those that
      hold that byte of the object.
    - `name` is what the rule is counted as; without one, the kind of its fault.

    Raises:
        ValueError: the rule makes no sense.
    """

    fault: Fault
    method: str = "*"
    object: str = "*"
    resumed: bool | None = None
    at: InjectionPoint | None = None
    after_bytes: int = 0
    after_seconds: float = 0.0
    nth: int = 0
    covers: int | None = None
    skip: int = 0
    times: int = 1
    probability: float = 1.0
    name: str = ""

    @property
    def phase(self) -> InjectionPoint:
        """Where the rule applies."""
        return self.fault.phases[0] if self.at is None else self.at

    @property
    def counted_as(self) -> str:
        """The name in the counters."""
        return self.name or kind_name(type(self.fault))

    def __post_init__(self) -> None:
        if self.phase not in self.fault.phases:
            places = " or ".join(self.fault.phases)
            raise ValueError(
                f"a {kind_name(type(self.fault))} cannot happen at {self.phase}, but at {places}"
            )
        for one in fields(self):
            value = getattr(self, one.name)
            if value == one.default:
                continue
            if one.name in _ONLY_AT and self.phase not in _ONLY_AT[one.name]:
                places = " or ".join(_ONLY_AT[one.name])
                raise ValueError(f"{one.name} means nothing at {self.phase}, but at {places}")
            if one.name in _ONLY_OF_CALLS and self.phase.of_relay:
                raise ValueError(f"{one.name} means nothing at {self.phase}: it is of calls")
            if one.name in _NUMBERS and not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{one.name} is {value}")
        if self.times < FOR_EVER:
            raise ValueError(f"times is {self.times}; for ever is {FOR_EVER}")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability is {self.probability}, which is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class Faults:
    """The rules in force, in order; every one that applies does, until one ends the call."""

    rules: tuple[Rule, ...] = ()
    seed: int = field(default=0)

    @property
    def of_relay(self) -> bool:
        """Whether any rule is of connections, so that a relay is needed."""
        return any(rule.phase.of_relay for rule in self.rules)

    @classmethod
    def parse(cls, text: str | bytes) -> Faults:
        """Return the faults that a JSON text orders: an order, its rules alone, or a single one.

        Raises:
            RpcError: the text is not such an order (INVALID_ARGUMENT).
        """
        try:
            members = _order(json.loads(text))
            _check_names(members, ("rules", "seed"), "an order")
            raw = members.get("rules", [])
            if not isinstance(raw, list):
                raise ValueError("rules is not a list")
            return cls(
                tuple(_numbered(position, one) for position, one in enumerate(raw)),
                _seed(members.get("seed", 0)),
            )
        except (ValueError, RecursionError) as error:
            raise invalid(f"These are not faults in JSON: {error}.") from None

    def to_json(self) -> bytes:
        """Return what `parse` takes; what is as by default is left out."""
        rules = [
            {"fault": {"kind": kind_name(type(rule.fault)), **_said(rule.fault)}}
            | {name: value for name, value in _said(rule).items() if name != "fault"}
            for rule in self.rules
        ]
        return json.dumps({"rules": rules} | ({"seed": self.seed} if self.seed else {})).encode()


def _order(raw: object) -> Mapping[str, object]:
    if isinstance(raw, list):
        return {"rules": raw}
    members = _mapping(raw, "the order")
    return {"rules": [raw]} if "fault" in members else members


def _seed(raw: object) -> int:
    try:
        return _integer(raw)
    except ValueError as error:
        raise ValueError(f"seed: {json.dumps(raw)} {error}") from None


def _numbered(position: int, raw: object) -> Rule:
    try:
        return _rule(raw)
    except ValueError as error:
        raise ValueError(f"rule {position + 1}: {error}") from None


def _rule(raw: object) -> Rule:
    members = _mapping(raw, "it")
    if "fault" not in members:
        raise ValueError("it has no fault")
    fault = _mapping(members["fault"], "fault")
    name = fault.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"there is no kind of fault {json.dumps(name)}")
    said = {key: value for key, value in fault.items() if key != "kind"}
    others = {key: value for key, value in members.items() if key != "fault"}
    return Rule(kind(**_read(kind, said)), **_read(Rule, others))  # type: ignore[arg-type]


def _read(kind: type[Fault | Rule], said: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments of a dataclass that JSON gives, each of the type of its field."""
    known = {one.name: one for one in fields(kind) if one.name != "fault"}
    what = kind_name(kind) if issubclass(kind, Fault) else "rule"
    _check_names(said, tuple(known), f"a {what}")
    missing = [
        one.name for one in known.values() if one.default is MISSING and one.name not in said
    ]
    if missing:
        raise ValueError(f"a {what} needs {missing[0]}")
    return {name: _value(known[name], value) for name, value in said.items()}


def _value(of: Field[object], value: object) -> object:
    try:
        return _READERS[str(of.type)](value)
    except ValueError as error:
        raise ValueError(f"{of.name}: {json.dumps(value)} {error}") from None


def _said(of: Fault | Rule) -> dict[str, object]:
    """Return the fields that are not as by default, as JSON has them."""
    said = {one.name: getattr(of, one.name) for one in fields(of)}
    return {
        one.name: said[one.name].name if isinstance(said[one.name], StatusCode) else said[one.name]
        for one in fields(of)
        if said[one.name] != one.default
    }


def _check_names(members: Mapping[str, object], known: tuple[str, ...], what: str) -> None:
    for name in members:
        if name not in known:
            raise ValueError(f"{what} has no {name!r}, but {', '.join(known) or 'nothing'}")


def _mapping(raw: object, what: str) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise ValueError(f"{what} is not an object")
    return raw


def _integer(raw: object) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError("is not a whole number")
    return raw


def _number(raw: object) -> float:
    if not isinstance(raw, int | float) or isinstance(raw, bool):
        raise ValueError("is not a number")
    return float(raw)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("is not a text")
    return raw


def _truth(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("is neither true nor false")
    return raw


def _code(raw: object) -> StatusCode:
    try:
        return StatusCode[_text(raw)]
    except KeyError:
        raise ValueError("is no gRPC status") from None


def _member(kind: type[InjectionPoint | Details | Spoiling | Turn]) -> Callable[[object], object]:
    def read(raw: object) -> object:
        try:
            return kind(_text(raw))
        except ValueError:
            raise ValueError(f"is none of {', '.join(kind)}") from None

    return read


def _or_none(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda raw: None if raw is None else read(raw)


# By the annotation of a field.
_READERS: dict[str, Callable[[object], object]] = {
    "bool": _truth,
    "bool | None": _or_none(_truth),
    "float": _number,
    "int": _integer,
    "int | None": _or_none(_integer),
    "str": _text,
    "Details": _member(Details),
    "InjectionPoint | None": _or_none(_member(InjectionPoint)),
    "Spoiling": _member(Spoiling),
    "StatusCode": _code,
    "Turn": _member(Turn),
}
