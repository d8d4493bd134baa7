"""Orders in JSON, and the document that describes them."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.emulator.faults.catalogue import (
    KINDS,
    ChunkGap,
    Delay,
    Fault,
    Hang,
    InjectionPoint,
    Status,
)
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Faults, Rule
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.model.errors import StatusCode
from tests.support.emulator_process import EmulatorProcess

DOCUMENT = Path(__file__).parents[2] / "docs" / "FAULTS.md"


def one(text: str) -> Rule:
    (rule,) = Faults.parse(f'{{"rules": [{text}]}}').rules
    return rule


def test_a_rule_is_read_as_it_is_written_in_python() -> None:
    wanted = Rule(
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
    assert wanted == one(text)


@given(st.data())
def test_any_order_is_read_back_as_it_was(data: st.DataObject) -> None:
    rules = []
    for kind in data.draw(st.lists(st.sampled_from(list(KINDS.values())), max_size=4)):
        fault = data.draw(st.builds(_made, st.just(kind)))
        phase = data.draw(st.sampled_from(fault.phases))
        rules.append(Rule(fault, at=phase, times=data.draw(st.integers(-1, 9)), name="x"))
    faults = Faults(tuple(rules), data.draw(st.integers()))
    assert faults == Faults.parse(faults.to_json())


def _made(kind: type[Fault]) -> Fault:
    needed = {"bytes_per_second": 5}
    return kind(**{one.name: needed[one.name] for one in fields(kind) if one.name in needed})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "recursion"),
        ("3", "the order is not an object"),
        ('{"rule": []}', "an order has no 'rule', but rules, seed"),
        ('{"rules": 3}', "rules is not a list"),
        ('{"seed": 0.5}', "seed: 0.5 is not a whole number"),
        ('{"rules": [3]}', "rule 1: it is not an object"),
        ('{"rules": [{}]}', "rule 1: it has no fault"),
        ('{"rules": [{"fault": "hang"}]}', "rule 1: fault is not an object"),
        ('{"rules": [{"fault": {"kind": "hang"}}, {"fault": {}}]}', "rule 2: there is no kind"),
    ],
)
def test_what_is_no_order_is_refused_in_one_sentence(text: str, reason: str) -> None:
    with pytest.raises(RpcError, match=re.escape(reason)) as refused:
        Faults.parse(text)
    assert refused.value.code == StatusCode.INVALID_ARGUMENT
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("fault", "others", "reason"),
    [
        ('{"kind": "explode"}', "", 'there is no kind of fault "explode"'),
        ('{"kind": "bandwidth"}', "", "a bandwidth needs bytes_per_second"),
        ('{"kind": "bandwidth", "bytes_per_second": 0}', "", "bytes_per_second is not positive"),
        ('{"kind": "status", "code": "OK"}', "", "a code of OK is no error"),
        ('{"kind": "status", "code": "ODD"}', "", '"ODD" is no gRPC status'),
        ('{"kind": "status", "details": "all"}', "", "is none of none, retry_info"),
        ('{"kind": "status", "message": 3}', "", "message: 3 is not a text"),
        ('{"kind": "delay", "seconds": -1}', "", "seconds is negative"),
        ('{"kind": "delay", "seconds": NaN}', "", "seconds is not a finite number"),
        ('{"kind": "delay", "seconds": true}', "", "seconds: true is not a number"),
        ('{"kind": "redirect", "loop": 1}', "", "loop: 1 is neither true nor false"),
        ('{"kind": "hang", "seconds": 1}', "", "a hang has no 'seconds', but nothing"),
        ('{"kind": "hang"}', ', "tims": 1', "a rule has no 'tims'"),
        ('{"kind": "hang"}', ', "at": "chunk"', "a hang cannot happen at chunk"),
        ('{"kind": "hang"}', ', "at": "sometimes"', "is none of open, content"),
        ('{"kind": "hang"}', ', "nth": 1', "nth means nothing at open, but at range or chunk"),
        ('{"kind": "hang"}', ', "times": -2', "times is -2"),
        ('{"kind": "hang"}', ', "skip": -1', "skip is -1"),
        ('{"kind": "hang"}', ', "probability": 1.5', "probability is 1.5"),
        ('{"kind": "hang"}', ', "resumed": 0', "resumed: 0 is neither true nor false"),
        ('{"kind": "reset"}', ', "object": "x"', "object means nothing at now: it is of calls"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_the_reason(
    fault: str, others: str, reason: str
) -> None:
    with pytest.raises(RpcError, match=re.escape(reason)):
        one(f'{{"fault": {fault}{others}}}')


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: Rule(Hang(), after_bytes=1),
        lambda: Rule(Hang(), at=InjectionPoint.CONTENT, after_bytes=-1),
        lambda: Rule(Status(), at=InjectionPoint.IDLE, after_seconds=math.inf),
        lambda: Rule(ChunkGap(), at=InjectionPoint.RANGE),
        lambda: Delay(math.nan),
    ],
)
def test_python_refuses_the_same(nonsense: object) -> None:
    assert callable(nonsense)
    with pytest.raises(ValueError, match=r"\w"):
        nonsense()


def examples() -> list[str]:
    return re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", examples())
def test_examples_of_the_document_are_orders(text: str) -> None:
    assert Faults.parse(text).rules


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_documented_with_its_phases_and_parameters(kind: str) -> None:
    shown = [example for example in examples() if f'"kind": "{kind}"' in example]
    assert shown
    (described,) = re.findall(rf"(?m)^`{kind}`.*$", DOCUMENT.read_text())
    for parameter in fields(KINDS[kind]):
        assert any(parameter.name in text for text in (described, *shown))
    # Phases that are not told there are those of the section.
    told = re.match(rf"`{kind}` \((`[^)]*)\)", described)
    if told:
        assert ", ".join(f"`{phase}`" for phase in KINDS[kind].phases) == told[1]


def test_an_order_may_be_its_rules_alone_or_a_single_one() -> None:
    text = '{"fault": {"kind": "hang"}}'
    assert Faults.parse(text) == Faults.parse(f"[{text}]") == Faults((Rule(Hang()),))
    assert Faults.parse("[]") == Faults()


def test_the_call_of_the_document_orders_from_another_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, _ = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    with EmulatorProcess(tmp_path / "buckets") as emulator:
        text = text.replace("127.0.0.1:9000", emulator.endpoint)
        exec(compile(text, "FAULTS.md", "exec"), {})
    ordered, counted = capsys.readouterr().out.splitlines()
    assert "GetObject" in ordered
    assert "requests" in counted


def test_the_python_of_the_document_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "buckets").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(compile(text + "\nimport asyncio\nasyncio.run(main())", "FAULTS.md", "exec"), {})
    assert capsys.readouterr().out.startswith("read from 127.0.0.1:")
