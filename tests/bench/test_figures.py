"""Tests of the statistics, the parsing, the tables and the verdicts of the benchmarks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks import fio, observation, plans, report, targets
from benchmarks.contenders import CONTENDERS
from benchmarks.programs import tensor_plan
from benchmarks.results import Key, Metric, Results, Run, Spread
from benchmarks.running import Cost
from benchmarks.tasks import Kind, Outcome, Task, percentiles

if TYPE_CHECKING:
    from pathlib import Path

GB = 10**9


def results_of(*runs: tuple[str, str, int, Outcome, Cost]) -> Results:
    results = Results()
    for case, contender, latency_ms, outcome, cost in runs:
        results.add(Run(Key(case, latency_ms, contender), outcome, cost))
    return results


def sequential(contender: str, *rates: float, cpu_seconds: float = 1.0) -> Results:
    return results_of(
        *(
            (
                plans.SEQUENTIAL,
                contender,
                0,
                Outcome(GB / rate, GB, figures={"steady_bytes_per_second": rate}),
                Cost(cpu_seconds),
            )
            for rate in rates
        )
    )


def merged(*parts: Results) -> Results:
    whole = Results()
    for part in parts:
        for runs in part.runs.values():
            for run in runs:
                whole.add(run)
    return whole


def test_percentiles_are_ranks_of_the_samples() -> None:
    assert percentiles([float(value) for value in range(100)]) == {"50": 50, "95": 95, "99": 99}
    assert percentiles([3.0]) == {"50": 3, "95": 3, "99": 3}
    assert percentiles([]) == {}


def test_a_spread_has_median_minimum_and_maximum() -> None:
    assert Spread.of([5.0, 1.0, 2.0]) == Spread(median=2.0, least=1.0, most=5.0)


def test_tasks_and_outcomes_survive_the_command_line() -> None:
    task = Task(Kind.RANDOM, ("a", "b"), 10, threads=4, shuffled=True)
    assert Task.from_json(task.to_json()) == task
    outcome = Outcome(1.5, 10, 2, {"50": 0.1}, {"listing_seconds": 0.2})
    assert Outcome.from_json(outcome.to_json()) == outcome


def test_a_run_gives_its_cost_per_byte_and_per_operation() -> None:
    cost = Cost(3.0, requests={"GetObject": 2, "BidiReadObject": 1}, ranges=4, bytes_asked=4 * GB)
    run = Run(Key("case", 0, "mount"), Outcome(2.0, 2 * GB, 1000), cost)
    assert run.cpu_seconds_per_gb == 1.5
    assert run.cpu_seconds_per_operation == 0.003
    assert run.requested_per_byte == 2
    assert run.request_count == 7


def test_tensors_cover_a_model_file_once_and_out_of_order() -> None:
    header, *tensors = tensor_plan(2**30, seed=1)
    assert header == (0, 128 * 1024)
    assert tensors != sorted(tensors)
    end = sum(header)
    for offset, length in sorted(tensors):
        assert offset == end
        assert length <= 64 * 2**20
        end += length
    assert end == 2**30


def fio_answer(**read: object) -> str:
    measured = {"io_bytes": 4096, "runtime": 2000, "total_ios": 1, "clat_ns": {}, **read}
    return json.dumps({"fio version": "fio-3.33", "jobs": [{"error": 0, "read": measured}]})


def test_notes_before_the_json_of_fio_are_ignored() -> None:
    latency = {"percentile": {"50.000000": 5_000_000, "99.000000": 7_000_000}}
    found = fio.parse("note: a clock\n" + fio_answer(clat_ns=latency))
    assert found == Outcome(2.0, 4096, 1, {"50": 0.005, "99": 0.007})


def test_an_error_of_fio_is_raised() -> None:
    with pytest.raises(ValueError, match="error 5"):
        fio.parse(fio_answer().replace('"error": 0', '"error": 5'))


def test_fio_threads_share_one_file_or_read_a_file_each(tmp_path: Path) -> None:
    task = Task(Kind.SEQUENTIAL, ("big",), 400, threads=4)
    shared = fio.command(task, tmp_path)
    assert {"--numjobs=4", "--size=100", "--offset_increment=100"} <= set(shared)
    own = fio.command(replace(task, names=("a", "b", "c", "d")), tmp_path)
    assert own.count("--numjobs=1") == own.count("--size=400") == 4
    assert f"--filename={tmp_path}/d" in own


def test_a_table_aligns_words_left_and_figures_right() -> None:
    assert report.table(["what", "GB/s"], [["one", "1.00"], ["another", "12.00"]]) == (
        "what      GB/s\n"  #
        "-------  -----\n"
        "one       1.00\n"
        "another  12.00"
    )


def test_a_case_shows_medians_ratios_and_missing_contenders() -> None:
    results = merged(sequential("client", 1e9, 2e9, 3e9), sequential("mount", 1e9))
    results.absent[Key(plans.SEQUENTIAL, 0, "gcsfuse")] = "not installed: gcsfuse is not on PATH"
    case = next(each for each in plans.quick().cases if each.name == plans.SEQUENTIAL)
    header, _, client, mount, absent = report.case_table(case, results, 0).splitlines()
    assert header.partition("]")[2].split()[:6] == [
        "median",
        "min",
        "max",
        "/",
        "client",
        "CPU-s/GB",
    ]
    assert client.split()[:6] == ["client", "2.00", "1.00", "3.00", "1.00", "1.00"]
    assert mount.split()[:6] == ["mount", "1.00", "1.00", "1.00", "0.50", "1.00"]
    assert absent == "gcsfuse: not installed: gcsfuse is not on PATH"


def test_verdicts_compare_medians_with_their_targets() -> None:
    results = merged(
        sequential("client", 1e9),
        sequential("mount", 0.4e9),
        sequential("mount, tuned", 0.7e9, cpu_seconds=1.1),
        sequential("rclone", 0.25e9),
    )
    found = {(each.workload, each.target): each for each in targets.verdicts(results)}
    tuned = "sequential cold, mount, tuned"
    assert found[tuned, "at least 0.6 of our client"].met is True
    assert found[tuned, "at least 2.5 times rclone"].measured == "2.80"
    assert found[tuned, "at most 1.2 processor seconds per GB"].met is True
    assert found["sequential cold, mount", "at least 0.45 of our client"].met is False


def test_a_target_without_a_measurement_has_no_verdict() -> None:
    assert {each.met for each in targets.verdicts(Results())} == {None}


def test_growth_is_the_highest_cost_divided_by_the_cost_of_the_fewest_objects() -> None:
    results = results_of(
        *(
            (plans.touch_case(count), "mount", 0, Outcome(1.0, 1000, 1000), Cost(seconds))
            for count, seconds in zip(plans.SIZES, (1.0, 1.5, 1.2), strict=True)
        )
    )
    (verdict,) = (each for each in targets.verdicts(results) if each.met is not None)
    assert verdict.measured == "1.50"
    assert verdict.met is False


def test_the_cost_of_an_observation_is_the_difference_of_two_read_hits() -> None:
    def calls(contender: str, microseconds: float) -> tuple[str, str, int, Outcome, Cost]:
        outcome = Outcome(microseconds * 1e-6 * 1000, operations=1000)
        return plans.OBSERVATION, contender, 0, outcome, Cost()

    results = results_of(
        calls("READ hit", 3.5), calls("READ hit, no histogram", 2.25), calls("Histogram.observe", 1)
    )
    found = [each for each in targets.verdicts(results) if each.met is not None]
    assert [(each.measured, each.met) for each in found] == [("1.25", False), ("1.00", True)]


@pytest.mark.parametrize("variant", ["hit", "hit-without-histogram", "observe"])
async def test_each_observation_variant_runs(variant: str) -> None:
    task = Task(Kind.OBSERVE, ("file",), 64 * 1024, 4096, count=2)
    outcome = await observation.measure(variant, task)
    assert outcome.operations == 2
    assert outcome.seconds > 0


def test_memory_per_entry_excludes_the_first_listing() -> None:
    def walked(count: int, growth: int) -> tuple[str, str, int, Outcome, Cost]:
        outcome = Outcome(1.0, operations=count)
        return plans.walk_case(count), "mount", 0, outcome, Cost(memory_growth_bytes=growth)

    results = results_of(walked(1_000, 10_000_000), walked(100_000, 10_000_000 + 99_000 * 300))
    (verdict,) = (each for each in targets.verdicts(results) if "bytes per entry" in each.target)
    assert (verdict.measured, verdict.met) == ("300.00", True)


def test_results_survive_a_round_trip_through_their_file(tmp_path: Path) -> None:
    results = sequential("client", 1e9, 2e9)
    results.absent[Key("case", 0, "gcsfuse")] = "not installed"
    path = tmp_path / "results" / "day.json"
    report.write_json(path, "2026-01-01", plans.quick(), results, targets.verdicts(results))
    found = report.read_json(path)
    assert (found.runs, found.absent) == (results.runs, results.absent)


def test_the_description_of_the_machine_names_no_host_and_no_path(tmp_path: Path) -> None:
    path = tmp_path / "day.json"
    report.write_json(path, "2026-01-01", plans.quick(), Results(), [])
    machine = json.dumps(json.loads(path.read_text())["machine"])
    assert "/" not in machine
    assert "nodename" not in machine


@pytest.mark.parametrize("plan", [plans.quick(), plans.full()], ids=lambda plan: plan.name)
def test_plans_name_only_contenders_that_exist(plan: plans.Plan) -> None:
    assert {who for case in plan.cases for who in case.contenders} <= set(CONTENDERS)


def test_the_quick_plan_measures_every_target() -> None:
    """The full plan has more cases, but the targets need only the cases of the quick plan."""
    results = Results()
    for case in plans.quick().cases:
        for latency_ms in case.latencies_ms:
            for who in case.contenders:
                outcome = Outcome(
                    1.0,
                    GB,
                    1000,
                    {"50": 0.005},
                    {"steady_bytes_per_second": 1e9, "first_entry_seconds": 0.1},
                )
                results.add(Run(Key(case.name, latency_ms, who), outcome, Cost(1.0)))
    assert None not in {each.met for each in targets.verdicts(results)}
    assert Metric.RATE.of(Outcome(2.0, GB)) == GB / 2
