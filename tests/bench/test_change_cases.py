"""Tests of the cases of a mount that receives changes: the targets, and the events."""

from __future__ import annotations

from benchmarks import changes_plan as plan
from benchmarks.change_targets import change_verdicts
from benchmarks.event_server import EVENTS_PER_RESPONSE, prepare_responses
from benchmarks.results import Key, Results, Run
from benchmarks.running import Cost
from benchmarks.tasks import Outcome
from gcsmux_fs.changes.change_event import ChangeKind, parse_change
from gcsmux_fs.storage.pull_codec import decode_pull_response


def verdicts(results: Results) -> dict[tuple[str, str], tuple[str, bool | None]]:
    found = [each for each in change_verdicts(results) if each.met is not None]
    return {(each.workload, each.target): (each.measured, each.met) for each in found}


def test_a_change_must_show_within_the_limit_of_its_case() -> None:
    results = Results()
    for who, seconds in (("mount, told", 0.06), ("mount, told, 1,000/s", 0.06)):
        outcome = Outcome(1.0, latencies={"50": seconds})
        results.add(Run(Key(plan.seen_case("ls"), 0, who), outcome, Cost()))
    assert verdicts(results) == {
        ("changes, seen by ls, mount, told", "at most 50 ms (median)"): ("60.00", False),
        ("changes, seen by ls, mount, told, 1,000/s", "at most 100 ms (median)"): ("60.00", True),
    }


def test_reads_are_compared_with_and_without_events() -> None:
    results = Results()
    for who, slow in (("mount, told, one core", 1.0), ("mount, told, one core, 10,000/s", 1.1)):
        outcome = Outcome(
            6.0,
            latencies={"50": 1e-5 * slow, "99": 1e-4 * slow**3},
            figures={"events_acknowledged": 60_000.0},
        )
        results.add(Run(Key(plan.HITS, 0, who), outcome, Cost()))
    assert [met for _, met in verdicts(results).values()] == [True, False, True]


def test_prepared_events_are_changes_of_the_bucket() -> None:
    responses = prepare_responses("bucket", 2 * EVENTS_PER_RESPONSE, ["a", "b"])
    messages = [each for one in responses for each in decode_pull_response(one).messages]
    changes = [parse_change(message, "bucket") for message in messages]
    assert {change.kind for change in changes} == {ChangeKind.FINALIZE}
    assert [change.name for change in changes[:3]] == ["a", "b", "a"]
    assert len({change.generation for change in changes}) == 2 * EVENTS_PER_RESPONSE
