"""Tests of the plan, the table and the targets of the user programs."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest

from benchmarks import bench, plans, programs_plan, user_objects
from benchmarks.contenders import CONTENDERS
from benchmarks.program_targets import program_verdicts
from benchmarks.programs_plan import PROGRAMS, titled
from benchmarks.programs_table import programs_tables
from benchmarks.results import Key, Results, Run
from benchmarks.running import Cost
from benchmarks.tasks import Kind, Outcome

LATENCIES_MS = (1, 20, 50)


def ran(
    name: str,
    contender: str,
    seconds: float,
    *,
    latency_ms: int = 20,
    used: int = 10**6,
    cost: Cost | None = None,
) -> Run:
    outcome = Outcome(seconds, used, 2_000)
    return Run(Key(titled(name), latency_ms, contender), outcome, cost or Cost())


def results_of(*runs: Run) -> Results:
    results = Results()
    for run in runs:
        results.add(run)
    return results


def test_each_program_of_the_plan_exists() -> None:
    """The libraries of the programs are in another environment, so the test reads the source."""
    source = Path(programs_plan.__file__).with_name("user_programs.py").read_text()
    (names,) = (
        [str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "_PROGRAMS"
        and isinstance(node.value, ast.Dict)
    )
    assert sorted(names) == sorted(each.name for each in PROGRAMS)


def test_the_full_plan_runs_each_program_at_each_latency_with_existing_contenders() -> None:
    cases = [case for case in plans.full().cases if case.bucket == user_objects.BUCKET]
    assert {who for case in cases for who in case.contenders} <= set(CONTENDERS)
    for latency_ms in LATENCIES_MS:
        here = [case.name for case in cases if case.latencies_ms == (latency_ms,)]
        assert {each.title for each in PROGRAMS} < set(here)
        assert here[0] == programs_plan.WARM_UP


def test_a_program_and_the_client_get_tasks_of_their_own() -> None:
    case = next(each for each in plans.programs((20,)).cases if each.name == titled("in-order"))
    assert (case.task.kind, case.task.names) == (Kind.PROGRAM, ("in-order",))
    assert case.client_task is not None
    assert case.client_task.names == (user_objects.MODEL,)


def test_the_table_has_a_row_for_each_program_and_the_cost_of_the_first_mount() -> None:
    cost = Cost(0.25, requests={"GetObject": 3}, ranges=4, bytes_asked=3 * 10**6)
    results = results_of(
        ran("tar", "mount", 1.0, used=2 * 10**6, cost=cost),
        ran("tar", "mount", 3.0, used=2 * 10**6, cost=cost),
        ran("tar", "gcsfuse", 0.5),
        ran("strides", "mount", 1.25),
    )
    results.absent[Key(titled("strides"), 20, "gcsfuse")] = "not finished within 20 s"
    header, _, strides, tar = programs_tables(results).splitlines()
    assert header.split()[:6] == ["seconds", "at", "20", "ms", "mount", "gcsfuse"]
    assert strides.removeprefix(titled("strides")).split()[:2] == ["1.25", ">20"]
    cells = tar.removeprefix(titled("tar")).split()
    assert cells == ["2.00", "0.50", "3.0", "1.50", "7", "0.25"]


def test_a_contender_without_a_run_has_a_dash_in_the_table() -> None:
    results = results_of(ran("tar", "mount", 1.0))
    results.absent[Key(titled("tar"), 20, "gcsfuse")] = "not installed"
    assert programs_tables(results).splitlines()[-1].split()[-5] == "-"
    assert programs_tables(Results()) == ""


@pytest.mark.parametrize(("mount", "met"), [(1.1, True), (1.2, False), (math.inf, False)])
def test_the_mount_is_compared_with_the_best_of_gcsfuse_and_the_tuned_mount(
    mount: float, met: bool
) -> None:
    results = results_of(ran("tar", "gcsfuse", 2.0), ran("tar", "mount, tuned", 1.0))
    if math.isinf(mount):
        results.absent[Key(titled("tar"), 20, "mount")] = "not finished within 20 s"
    else:
        results.add(ran("tar", "mount", mount))
    (found,) = (
        each
        for each in program_verdicts(results)
        if "the best of" in each.target and each.met is not None
    )
    assert found.met is met


def test_a_target_without_runs_has_no_verdict() -> None:
    assert {each.met for each in program_verdicts(Results())} == {None}


def test_look_ups_bytes_and_processor_time_are_counted_per_file_and_per_byte() -> None:
    cost = Cost(5.0, requests={"GetObject": 200, "ListObjects": 300, "ReadObject": 2_000})
    results = results_of(
        ran("files-shuffled", "mount", 3.0, cost=cost),
        ran("media-heads", "mount", 1.0, used=1_000, cost=Cost(bytes_asked=5_000)),
    )
    found = {
        (each.workload, each.target): (each.measured, each.met)
        for each in program_verdicts(results)
    }
    shuffled = titled("files-shuffled")
    assert found[shuffled, "at most 0.2 look-up requests per file"] == ("0.25", False)
    assert found[shuffled, "at most 1.2 ms of processor time per file"] == ("2.50", False)
    heads = found[titled("media-heads"), "at most 4 bytes requested per byte read"]
    assert heads == ("5.00", False)


def test_every_target_has_a_verdict_after_a_full_run() -> None:
    results = Results()
    for case in plans.full().cases:
        if case.bucket == user_objects.BUCKET:
            for who in case.contenders:
                run = Run(
                    Key(case.name, case.latencies_ms[0], who), Outcome(1.0, 10, 10), Cost(1.0)
                )
                results.add(run)
    assert None not in {each.met for each in program_verdicts(results)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "--contenders", "nothing"], "no contender 'nothing'"),
        (["--table", "--against", "/nonexistent"], "/nonexistent has no mount"),
        (["--only", "nothing"], "no case has a name with 'nothing'"),
    ],
)
def test_wrong_arguments_get_one_sentence(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert message in f"{capsys.readouterr().err}{ended.value.code}"
