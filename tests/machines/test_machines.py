"""Tests that the runner counts examples and steps, and fails when a machine fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from .__main__ import MACHINES, main
from .run import MAX_STEPS, run

if TYPE_CHECKING:
    from pathlib import Path


class Sound(RuleBasedStateMachine):
    """A machine that never fails, and counts its own examples and steps."""

    examples = 0
    steps = 0

    @initialize()
    def begin(self) -> None:
        Sound.examples += 1
        Sound.steps += 1

    @rule()
    def step(self) -> None:
        Sound.steps += 1


class Broken(RuleBasedStateMachine):
    """A machine that fails at its third step."""

    steps = 0

    @rule()
    def step(self) -> None:
        self.steps += 1

    @invariant()
    def steps_are_few(self) -> None:
        assert self.steps < 3


@pytest.mark.slow
def test_machine_runs_for_the_given_time(tmp_path: Path) -> None:
    output = tmp_path / "machines" / "summary.json"
    assert main(["--seconds", "1", "--output", str(output), "inodes"]) == 0
    summary = json.loads(output.read_text())
    result = summary["machines"]["inodes"]
    assert (summary["passed"], result["failure"]) == (True, "")
    assert result["seconds"] >= 1
    assert result["examples"] > 10


def test_examples_and_steps_are_counted() -> None:
    result = run(Sound, 0.1)
    assert (Sound.examples, Sound.steps) == (result.examples, result.steps)
    assert 0 < result.steps <= result.examples * MAX_STEPS


def test_runner_fails_and_prints_the_failing_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "summary.json"
    monkeypatch.setitem(MACHINES, "broken", Broken)
    assert main(["--seconds", "1", "--output", str(output), "broken"]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("broken")
    assert "FAILED" in printed.out
    assert printed.err.count("state.step()") == 3
    summary = json.loads(output.read_text())
    assert not summary["passed"]
    assert "state = Broken()" in summary["machines"]["broken"]["failure"]
