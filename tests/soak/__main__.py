"""`python -m tests.soak --seconds N --seed S`: run a soak and print its summary."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from .run import Options, soak
from .schedule import phases


def main() -> int:
    """Run a soak; return 0 if it passed and 1 if it found a failure."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are injected")
    parser.add_argument("--seed", type=int, help="the same seed injects the same faults")
    parser.add_argument(
        "--memory", type=int, default=32, metavar="MIB", help="the mount's --memory"
    )
    parser.add_argument("--read-timeout", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--told", action="store_true", help="tell the mount of changes (--changes)")
    parser.add_argument("--output", type=Path, help="write the summary as JSON to this file")
    parser.add_argument("--plan", action="store_true", help="only print the planned faults")
    arguments = parser.parse_args()
    seed = random.randrange(2**31) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    if arguments.plan:
        for phase in phases(seed, arguments.seconds):
            print(phase)
        return 0
    os.environ["PYTHONFAULTHANDLER"] = "1"
    options = Options(
        arguments.seconds,
        seed,
        arguments.memory * 1024 * 1024,
        arguments.read_timeout,
        arguments.told,
    )
    with tempfile.TemporaryDirectory(prefix="gcsmux-soak-") as folder:
        summary = soak(options, Path(folder))
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(summary.to_json() + "\n")
    print(summary.table())
    return 1 if summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
