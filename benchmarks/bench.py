"""`make bench` and `make bench-quick`: measure all contenders in turns on one machine.

Compare only figures of the same run, because the server shares the machine. The run prints the
table of each case when the case is complete. At the end it prints whether each target is met, and
writes `benchmarks/results/DATE.json`. The full run also draws the charts in `docs/charts`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import charts, objects, plans, report, targets
from benchmarks.contenders import CONTENDERS
from benchmarks.results import Key, Results, Run
from benchmarks.running import Failed
from benchmarks.site import Site

if TYPE_CHECKING:
    from benchmarks.plans import Case, Plan

__all__ = ["main"]

_HERE = Path(__file__).parent


def run_case(case: Case, site: Site, results: Results) -> None:
    """Run all contenders of a case in turns, once per round, and print the table of the case."""
    for latency_ms in case.latencies_ms:
        for _ in range(case.rounds):
            for contender in case.contenders:
                _run_once(case, Key(case.name, latency_ms, contender), site, results)
        print(f"{report.case_table(case, results, latency_ms)}\n", flush=True)


def _run_once(case: Case, key: Key, site: Site, results: Results) -> None:
    if key in results.absent:
        return
    contender = CONTENDERS[key.contender]
    reason = contender.missing(case.task, key.latency_ms)
    if not reason:
        try:
            outcome, cost = contender.run(site, case.bucket, case.task, key.latency_ms)
        except Failed as error:
            reason = str(error)
        else:
            results.add(Run(key, outcome, cost))
            return
    results.absent[key] = reason


def run_plan(plan: Plan, only: str) -> Results:
    """Run the cases of a plan whose names contain `only`, and return their results."""
    results = Results()
    with tempfile.TemporaryDirectory(prefix="gcsmux-bench-") as folder, Site(Path(folder)) as site:
        for case in plan.cases:
            if only in case.name:
                objects.make(site.buckets, case.bucket)
                run_case(case, site, results)
    return results


def main() -> None:
    """Run a plan, print its tables, and write its results."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="run only the cases of the targets (3 minutes)"
    )
    parser.add_argument(
        "--only", default="", help="run only cases whose name contains this text; write no files"
    )
    parser.add_argument(
        "--rounds", type=int, help="number of runs per contender (default: set by each case)"
    )
    arguments = parser.parse_args()
    plan = plans.quick() if arguments.quick else plans.full()
    if arguments.rounds:
        cases = (replace(case, rounds=arguments.rounds) for case in plan.cases)
        plan = replace(plan, cases=tuple(cases))
    began = time.monotonic()
    results = run_plan(plan, arguments.only)
    verdicts = targets.verdicts(results)
    if arguments.only:
        verdicts = [each for each in verdicts if each.met is not None]
    if verdicts:
        print(f"{report.verdict_table(verdicts)}\n")
    print(f"{plan.name} run of {time.monotonic() - began:.0f} s")
    if not arguments.only:
        date = datetime.now(UTC).strftime("%Y-%m-%d")
        suffix = "-quick" if arguments.quick else ""
        path = _HERE / "results" / f"{date}{suffix}.json"
        report.write_json(path, date, plan, results, verdicts)
        if not arguments.quick:
            charts.draw_all(results, _HERE.parent / "docs" / "charts")


if __name__ == "__main__":
    main()
