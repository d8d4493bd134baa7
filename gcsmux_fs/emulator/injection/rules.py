"""Rules that say which faults happen, where and how often, in Python and in JSON.

    internal = Status(StatusCode.INTERNAL)
    Faults((Rule(internal, at=InjectionPoint.CONTENT, after_bytes=1000, times=2),))

    {"rules": [{"fault": {"kind": "status", "code": "INTERNAL"},
                "at": "content", "after_bytes": 1000, "times": 2}]}

Each event at the rule's injection point is an opportunity for the rule (see `InjectionPoint`). The
rule skips the first `skip` opportunities. At each later opportunity it fires with `probability`,
until it has fired `times` times. Whether the rule fires at its n-th opportunity depends only on
`seed`, on the position of the rule in the list, and on n. A run with the same opportunities
therefore has the same faults.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import (
    KINDS,
    Details,
    Fault,
    InjectionPoint,
    MalformedKind,
    PageTokenTarget,
    kind_name,
)
from gcsmux_fs.emulator.rpc_error import invalid
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FOR_EVER", "Faults", "Rule"]

# The value of `times` for a rule that may fire any number of times.
FOR_EVER = -1
# Fields of a rule that have a meaning only at some injection points, with these injection points.
_ONLY_AT = {
    "after_bytes": (InjectionPoint.CONTENT, InjectionPoint.TRAFFIC),
    "after_seconds": (InjectionPoint.IDLE,),
    "nth": (InjectionPoint.RANGE, InjectionPoint.CHUNK),
    "covers": (InjectionPoint.RANGE, InjectionPoint.CHUNK),
}
_ONLY_FOR_CALLS = ("method", "object", "resumed")
_NUMBERS = ("after_bytes", "after_seconds", "nth", "covers", "skip")


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault, where it happens, and how often.

    - `method`, `object`: shell patterns for the method and the object name; `*` also matches
      slashes. For a listing, `object` is matched with the prefix.
    - `resumed`: true selects calls with a read handle or a page token, false selects the other
      calls, None selects all calls.
    - `at`: the injection point; None selects the default of the kind of fault.
    - `after_bytes`: at `content` and `traffic`, the number of sent bytes after which the fault
      happens. Bytes count from the start of the call or connection, or from the moment when the
      rule became active, if this was later.
    - `after_seconds`: at `idle`, the idle time after which the fault happens.
    - `nth`: at `range` and `chunk`, the number of the range or chunk in its stream, counted from 1;
      0 selects all ranges or chunks.
    - `covers`: at `range` and `chunk`, an offset that the range or chunk must contain.
    - `name`: the rule's name in the counters; if empty, the name of the kind of fault.

    Raises:
        ValueError: a field is out of range, or has no meaning at the injection point.
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
    def point(self) -> InjectionPoint:
        """The injection point: `at`, or the default of the kind of fault."""
        return self.fault.points[0] if self.at is None else self.at

    @property
    def counted_as(self) -> str:
        """The rule's name in the counters."""
        return self.name or kind_name(type(self.fault))

    def __post_init__(self) -> None:
        if self.point not in self.fault.points:
            points = " or ".join(self.fault.points)
            raise ValueError(
                f"{kind_name(type(self.fault))} cannot happen at {self.point}, only at {points}"
            )
        for rule_field in fields(self):
            name = rule_field.name
            value = getattr(self, name)
            if value == rule_field.default:
                continue
            if name in _ONLY_AT and self.point not in _ONLY_AT[name]:
                points = " or ".join(_ONLY_AT[name])
                raise ValueError(f"{name} has no meaning at {self.point}, only at {points}")
            if name in _ONLY_FOR_CALLS and self.point.of_connections:
                raise ValueError(f"{name} has no meaning at {self.point}, only for faults of calls")
            if name in _NUMBERS and not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}, which is not a number from 0 up")
        if self.times < FOR_EVER:
            raise ValueError(f"times is {self.times}: use a number from 0 up, or {FOR_EVER}")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability is {self.probability}, which is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class Faults:
    """A list of rules, and the seed of their random decisions.

    At each opportunity, all matching rules fire in the order of the list, until the first terminal
    fault.
    """

    rules: tuple[Rule, ...] = ()
    seed: int = field(default=0)

    @property
    def of_connections(self) -> bool:
        """Whether any rule needs the TCP proxy."""
        return any(rule.point.of_connections for rule in self.rules)

    @classmethod
    def parse(cls, text: str | bytes) -> Faults:
        """Parse rules in JSON: an object with the member `rules`, a list of rules, or one rule.

        Raises:
            RpcError: the text does not hold valid rules (INVALID_ARGUMENT).
        """
        try:
            members = _order_members(json.loads(text))
            _check_names(members, ("rules", "seed"), "the order")
            rules = members.get("rules", [])
            if not isinstance(rules, list):
                raise ValueError("rules is not a list")
            return cls(
                tuple(_parse_numbered_rule(position, raw) for position, raw in enumerate(rules)),
                _parse_seed(members.get("seed", 0)),
            )
        except (ValueError, RecursionError) as error:
            raise invalid(f"Not a valid order of faults: {error}.") from None

    def to_json(self) -> bytes:
        """Return the rules as JSON for `parse`. Fields that have their default are left out."""
        rules = [
            {"fault": {"kind": kind_name(type(rule.fault)), **_changed_fields(rule.fault)}}
            | {name: value for name, value in _changed_fields(rule).items() if name != "fault"}
            for rule in self.rules
        ]
        return json.dumps({"rules": rules} | ({"seed": self.seed} if self.seed else {})).encode()


def _order_members(raw: object) -> Mapping[str, object]:
    if isinstance(raw, list):
        return {"rules": raw}
    members = _mapping(raw, "the order")
    return {"rules": [raw]} if "fault" in members else members


def _parse_seed(raw: object) -> int:
    try:
        return _integer(raw)
    except ValueError as error:
        raise ValueError(f"seed: {json.dumps(raw)} {error}") from None


def _parse_numbered_rule(position: int, raw: object) -> Rule:
    try:
        return _parse_rule(raw)
    except ValueError as error:
        raise ValueError(f"rule {position + 1}: {error}") from None


def _parse_rule(raw: object) -> Rule:
    members = _mapping(raw, "the rule")
    if "fault" not in members:
        raise ValueError("the member fault is missing")
    fault = _mapping(members["fault"], "fault")
    name = fault.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"unknown kind of fault {json.dumps(name)}")
    parameters = {key: value for key, value in fault.items() if key != "kind"}
    others = {key: value for key, value in members.items() if key != "fault"}
    return Rule(
        kind(**_parse_fields(kind, parameters)),
        **_parse_fields(Rule, others),  # type: ignore[arg-type]
    )


def _parse_fields(kind: type[Fault | Rule], members: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments for a dataclass, each converted to the type of its field."""
    known = {member.name: member for member in fields(kind) if member.name != "fault"}
    what = kind_name(kind) if issubclass(kind, Fault) else "a rule"
    _check_names(members, tuple(known), what)
    missing = [
        member.name
        for member in known.values()
        if member.default is MISSING and member.name not in members
    ]
    if missing:
        raise ValueError(f"{what} needs {missing[0]}")
    return {name: _parse_value(known[name], value) for name, value in members.items()}


def _parse_value(target: Field[object], value: object) -> object:
    try:
        return _PARSERS[str(target.type)](value)
    except ValueError as error:
        raise ValueError(f"{target.name}: {json.dumps(value)} {error}") from None


def _changed_fields(source: Fault | Rule) -> dict[str, object]:
    """Return the fields that differ from their defaults, as JSON values."""
    values = {member.name: getattr(source, member.name) for member in fields(source)}
    return {
        member.name: values[member.name].name
        if isinstance(values[member.name], StatusCode)
        else values[member.name]
        for member in fields(source)
        if values[member.name] != member.default
    }


def _check_names(members: Mapping[str, object], known: tuple[str, ...], what: str) -> None:
    for name in members:
        if name not in known:
            raise ValueError(f"{what} has no member {name!r}, only: {', '.join(known) or 'none'}")


def _mapping(raw: object, what: str) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise ValueError(f"{what} is not an object")
    return raw


def _integer(raw: object) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError("is not an integer")
    return raw


def _number(raw: object) -> float:
    if not isinstance(raw, int | float) or isinstance(raw, bool):
        raise ValueError("is not a number")
    return float(raw)


def _string(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("is not a string")
    return raw


def _boolean(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("is neither true nor false")
    return raw


def _status_code(raw: object) -> StatusCode:
    try:
        return StatusCode[_string(raw)]
    except KeyError:
        raise ValueError("is not the name of a gRPC status code") from None


def _member_of(
    kind: type[InjectionPoint | Details | MalformedKind | PageTokenTarget],
) -> Callable[[object], object]:
    def parse(raw: object) -> object:
        try:
            return kind(_string(raw))
        except ValueError:
            raise ValueError(f"is not one of {', '.join(kind)}") from None

    return parse


def _or_none(parse: Callable[[object], object]) -> Callable[[object], object]:
    return lambda raw: None if raw is None else parse(raw)


# The functions that convert JSON values to the types of fields. Keys are the annotations of fields.
_PARSERS: dict[str, Callable[[object], object]] = {
    "bool": _boolean,
    "bool | None": _or_none(_boolean),
    "float": _number,
    "int": _integer,
    "int | None": _or_none(_integer),
    "str": _string,
    "Details": _member_of(Details),
    "InjectionPoint | None": _or_none(_member_of(InjectionPoint)),
    "MalformedKind": _member_of(MalformedKind),
    "PageTokenTarget": _member_of(PageTokenTarget),
    "StatusCode": _status_code,
}
