"""`make bench` and `make bench-quick`: measure all contenders in turns on one machine.

Compare only figures of the same run, because the server shares the machine. The run prints the
table of each case when the case is complete. At the end it prints whether each target is met, and
writes `benchmarks/results/DATE.json`. The full run also draws the charts in `docs/charts`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import objects, plans, report, targets, user_objects
from benchmarks.cache_targets import cache_verdicts
from benchmarks.change_targets import change_verdicts
from benchmarks.contenders import CONTENDERS, OTHER, mount_of
from benchmarks.program_targets import program_verdicts
from benchmarks.programs_table import programs_tables
from benchmarks.results import Key, Results, Run
from benchmarks.running import Failed
from benchmarks.site import Site

if TYPE_CHECKING:
    from benchmarks.plans import Case, Plan

__all__ = ["main"]

_HERE = Path(__file__).parent
# The contenders of --table.
_TABLE = ("mount", "mount, 128 KiB", "gcsfuse", "gcsfuse, zonal")


def run_case(case: Case, site: Site, results: Results) -> None:
    """Run all contenders of a case in turns, once per round."""
    for latency_ms in case.latencies_ms:
        for _ in range(case.rounds):
            for contender in case.contenders:
                _run_once(case, Key(case.name, latency_ms, contender), site, results)


def _run_once(case: Case, key: Key, site: Site, results: Results) -> None:
    known = results.runs.get(key, [])
    if key in results.absent or any(run.outcome.seconds > case.once_seconds for run in known):
        return
    contender = CONTENDERS[key.contender]
    task = case.client_task if key.contender == "client" and case.client_task else case.task
    reason = contender.missing(task, key.latency_ms)
    if not reason:
        try:
            outcome, cost = contender.run(site, case.bucket, task, key.latency_ms)
        except Failed as error:
            reason = str(error)
        else:
            results.add(Run(key, outcome, cost))
    if reason:
        results.absent[key] = reason
    print(f"{' | '.join(map(str, key))}: {reason or f'{outcome.seconds:.2f} s'}", file=sys.stderr)


def run_plan(plan: Plan, results: Results, buckets: Path | None = None) -> None:
    """Run the cases of a plan and add their results; keep the objects if `buckets` is given."""
    with tempfile.TemporaryDirectory(prefix="gcsmux-bench-") as temporary:
        folder = Path(temporary)
        _run_cases(plan, Site(folder, buckets or folder / "buckets"), results)


def _run_cases(plan: Plan, site: Site, results: Results) -> None:
    with site:
        for case in plan.cases:
            objects.make(site.buckets, case.bucket)
            run_case(case, site, results)
            if case.bucket != user_objects.BUCKET:
                for latency_ms in case.latencies_ms:
                    print(f"{report.case_table(case, results, latency_ms)}\n", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="run only the cases of the targets (3 minutes)"
    )
    parser.add_argument(
        "--table", action="store_true", help="run only the user programs; print one table"
    )
    parser.add_argument(
        "--latency", type=int, action="append", help="milliseconds, for --table (default: 20)"
    )
    parser.add_argument(
        "--contenders", nargs="+", help="for --table (default: the mounts and gcsfuse)"
    )
    parser.add_argument(
        "--against", type=Path, help="for --table: a checkout whose mount is compared too"
    )
    parser.add_argument(
        "--only",
        action="append",
        help="run only cases whose name contains this text; may be repeated; write no files",
    )
    parser.add_argument(
        "--rounds", type=int, help="number of runs per contender (default: set by each case)"
    )
    parser.add_argument(
        "--folder", type=Path, help="keep the objects in this folder for the next run"
    )
    arguments = parser.parse_args()
    for name in arguments.contenders or []:
        if name not in CONTENDERS:
            parser.error(f"no contender {name!r}: write one of these: {'; '.join(CONTENDERS)}.")
    other = arguments.against
    if other and not (other / ".venv" / "bin" / "gcsmux-mount").exists():
        parser.error(f"{other} has no mount: run scripts/bootstrap there.")
    return arguments


def _plan(arguments: argparse.Namespace) -> Plan:
    if arguments.table:
        contenders = tuple(arguments.contenders or _TABLE)
        if arguments.against:
            CONTENDERS[OTHER] = mount_of(arguments.against.resolve())
            contenders = (OTHER, *contenders)
        plan = plans.programs(tuple(arguments.latency or [20]), contenders)
    else:
        plan = plans.quick() if arguments.quick else plans.full()
    cases = [
        replace(case, rounds=arguments.rounds or case.rounds)
        for case in plan.cases
        if any(text in case.name for text in arguments.only or [""])
    ]
    return replace(plan, cases=tuple(cases))


def main() -> None:
    """Run a plan, print its tables, and write its results."""
    arguments = _arguments()
    plan = _plan(arguments)
    if not plan.cases:
        sys.exit(f"bench: no case has a name with {' or '.join(map(repr, arguments.only))}.")
    began = time.monotonic()
    # SIGTERM, for example from timeout(1), ends the run like Ctrl-C: it unmounts and prints.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = Results()
    complete = not arguments.only and not arguments.table
    try:
        run_plan(plan, results, arguments.folder)
    except KeyboardInterrupt:
        complete = False
    if tables := programs_tables(results):
        print(f"{tables}\n")
    verdicts = [] if arguments.table else targets.verdicts(results)
    if not arguments.quick:
        verdicts += cache_verdicts(results) + change_verdicts(results)
        verdicts += program_verdicts(results)
    if not complete:
        verdicts = [each for each in verdicts if each.met is not None]
    if verdicts:
        print(f"{report.verdict_table(verdicts)}\n")
    print(f"{plan.name} run of {time.monotonic() - began:.0f} s")
    if complete:
        _write(plan, results, verdicts)


def _write(plan: Plan, results: Results, verdicts: list[targets.Verdict]) -> None:
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    suffix = "" if plan.name == "full" else f"-{plan.name}"
    path = _HERE / "results" / f"{date}{suffix}.json"
    report.write_json(path, date, plan, results, verdicts)
    if plan.name == "full":
        from benchmarks import charts  # the only part that needs matplotlib

        charts.draw_all(results, _HERE.parent / "docs" / "charts")


if __name__ == "__main__":
    main()
