"""Tests of fault orders in JSON: how they are parsed, and that docs/FAULTS.md describes them."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.emulator.faults import (
    KINDS,
    ChunkGap,
    Delay,
    Fault,
    Hang,
    InjectionPoint,
    Status,
)
from gcsmux_fs.emulator.injection import FOR_EVER, Faults, Rule
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.model.errors import StatusCode
from tests.support.emulator_process import EmulatorProcess

DOCUMENT = Path(__file__).parents[2] / "docs" / "FAULTS.md"


def parse_rule(text: str) -> Rule:
    (rule,) = Faults.parse(f'{{"rules": [{text}]}}').rules
    return rule


def test_a_rule_in_json_equals_the_rule_in_python() -> None:
    expected = Rule(
        Status(StatusCode.INTERNAL),
        method="BidiReadObject",
        object="data/*",
        resumed=True,
        at=InjectionPoint.CONTENT,
        after_bytes=1000,
        skip=1,
        times=FOR_EVER,
        probability=0.5,
        name="cut",
    )
    text = """{"fault": {"kind": "status", "code": "INTERNAL"}, "method": "BidiReadObject",
               "object": "data/*", "resumed": true, "at": "content", "after_bytes": 1000,
               "skip": 1, "times": -1, "probability": 0.5, "name": "cut"}"""
    assert expected == parse_rule(text)


@given(st.data())
def test_parse_reads_what_to_json_writes(data: st.DataObject) -> None:
    rules = []
    for kind in data.draw(st.lists(st.sampled_from(list(KINDS.values())), max_size=4)):
        fault = data.draw(st.builds(_example, st.just(kind)))
        point = data.draw(st.sampled_from(fault.points))
        rules.append(Rule(fault, at=point, times=data.draw(st.integers(-1, 9)), name="x"))
    faults = Faults(tuple(rules), data.draw(st.integers()))
    assert faults == Faults.parse(faults.to_json())


def _example(kind: type[Fault]) -> Fault:
    required = {"bytes_per_second": 5}
    names = {parameter.name for parameter in fields(kind)}
    return kind(**{name: value for name, value in required.items() if name in names})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "recursion"),
        ("3", "the order is not an object"),
        ('{"rule": []}', "the order has no member 'rule', only: rules, seed"),
        ('{"rules": 3}', "rules is not a list"),
        ('{"seed": 0.5}', "seed: 0.5 is not an integer"),
        ('{"rules": [3]}', "rule 1: the rule is not an object"),
        ('{"rules": [{}]}', "rule 1: the member fault is missing"),
        ('{"rules": [{"fault": "hang"}]}', "rule 1: fault is not an object"),
        (
            '{"rules": [{"fault": {"kind": "hang"}}, {"fault": {}}]}',
            "rule 2: unknown kind of fault null",
        ),
    ],
)
def test_an_invalid_order_is_refused_with_one_sentence(text: str, reason: str) -> None:
    with pytest.raises(RpcError, match=re.escape(reason)) as raised:
        Faults.parse(text)
    assert raised.value.code == StatusCode.INVALID_ARGUMENT
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("fault", "others", "reason"),
    [
        ('{"kind": "explode"}', "", 'unknown kind of fault "explode"'),
        ('{"kind": "bandwidth"}', "", "bandwidth needs bytes_per_second"),
        ('{"kind": "bandwidth", "bytes_per_second": 0}', "", "bytes_per_second is not positive"),
        ('{"kind": "status", "code": "OK"}', "", "code OK is no error"),
        ('{"kind": "status", "code": "ODD"}', "", '"ODD" is not the name of a gRPC status code'),
        ('{"kind": "status", "details": "all"}', "", "is not one of none, retry_info"),
        ('{"kind": "status", "message": 3}', "", "message: 3 is not a string"),
        ('{"kind": "delay", "seconds": -1}', "", "seconds is negative"),
        ('{"kind": "delay", "seconds": NaN}', "", "seconds is not a finite number"),
        ('{"kind": "delay", "seconds": true}', "", "seconds: true is not a number"),
        ('{"kind": "redirect", "loop": 1}', "", "loop: 1 is neither true nor false"),
        ('{"kind": "hang", "seconds": 1}', "", "hang has no member 'seconds', only: none"),
        ('{"kind": "hang"}', ', "tims": 1', "a rule has no member 'tims'"),
        ('{"kind": "hang"}', ', "at": "chunk"', "hang cannot happen at chunk, only at open"),
        ('{"kind": "hang"}', ', "at": "sometimes"', "is not one of open, content"),
        ('{"kind": "hang"}', ', "nth": 1', "nth has no meaning at open, only at range or chunk"),
        ('{"kind": "hang"}', ', "times": -2', "times is -2"),
        ('{"kind": "hang"}', ', "skip": -1', "skip is -1"),
        ('{"kind": "hang"}', ', "probability": 1.5', "probability is 1.5"),
        ('{"kind": "hang"}', ', "resumed": 0', "resumed: 0 is neither true nor false"),
        (
            '{"kind": "reset"}',
            ', "object": "x"',
            "object has no meaning at now, only for faults of calls",
        ),
    ],
)
def test_an_invalid_rule_is_refused_with_the_reason(fault: str, others: str, reason: str) -> None:
    with pytest.raises(RpcError, match=re.escape(reason)):
        parse_rule(f'{{"fault": {fault}{others}}}')


@pytest.mark.parametrize(
    "make_invalid",
    [
        lambda: Rule(Hang(), after_bytes=1),
        lambda: Rule(Hang(), at=InjectionPoint.CONTENT, after_bytes=-1),
        lambda: Rule(Status(), at=InjectionPoint.IDLE, after_seconds=math.inf),
        lambda: Rule(ChunkGap(), at=InjectionPoint.RANGE),
        lambda: Delay(math.nan),
    ],
)
def test_python_refuses_invalid_rules_and_faults(make_invalid: object) -> None:
    assert callable(make_invalid)
    with pytest.raises(ValueError, match=r"\w"):
        make_invalid()


def examples() -> list[str]:
    return re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", examples())
def test_examples_in_the_document_are_valid_orders(text: str) -> None:
    assert Faults.parse(text).rules


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_documented_with_its_points_and_parameters(kind: str) -> None:
    shown = [example for example in examples() if f'"kind": "{kind}"' in example]
    assert shown
    (described,) = re.findall(rf"(?m)^`{kind}`.*$", DOCUMENT.read_text())
    for parameter in fields(KINDS[kind]):
        assert any(parameter.name in text for text in (described, *shown))
    # If this line names no injection points, the injection points at the start of the document's
    # section apply.
    points = re.match(rf"`{kind}` \((`[^)]*)\)", described)
    if points:
        assert ", ".join(f"`{point}`" for point in KINDS[kind].points) == points[1]


def test_an_order_may_be_a_list_of_rules_or_a_single_rule() -> None:
    text = '{"fault": {"kind": "hang"}}'
    assert Faults.parse(text) == Faults.parse(f"[{text}]") == Faults((Rule(Hang()),))
    assert Faults.parse("[]") == Faults()


def test_the_grpc_example_in_the_document_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, _ = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    with EmulatorProcess(tmp_path / "buckets") as emulator:
        text = text.replace("127.0.0.1:9000", emulator.endpoint)
        exec(compile(text, "FAULTS.md", "exec"), {})
    order, counters = capsys.readouterr().out.splitlines()
    assert "GetObject" in order
    assert "requests" in counters


def test_the_emulator_example_in_the_document_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "buckets").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(compile(text + "\nimport asyncio\nasyncio.run(main())", "FAULTS.md", "exec"), {})
    assert capsys.readouterr().out.startswith("read from 127.0.0.1:")
