"""Fuzz with coverage guidance: `python -m tests.fuzz [--seconds N] [TARGET...]`.

Without a TARGET all targets run, each in a separate process for N seconds. Inputs that reach new
code are stored in `.fuzz/TARGET`, and the next run starts from these inputs. An input that fails is
stored as `.fuzz/TARGET-NAME`. To run this input again: `python -m tests.fuzz.one TARGET FILE`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from .targets import TARGETS, seeds

_FOLDER = Path(".fuzz")
# Maximum duration of one input. An input that takes longer is a failure, because a hostile server
# could stop a mount with this input. Usually an input takes about 1 ms.
_HANG_SECONDS = 5
_MEMORY_MIB = 1024
_MAX_INPUT_BYTES = 1024
# Maximum time that libFuzzer may take in addition to N seconds, to start and to print its
# statistics.
_MARGIN_SECONDS = 120


def main() -> int:
    """Run the targets one by one, print a line for each target; return 1 if a target failed."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    chosen = parser.parse_args()
    failed = [name for name in chosen.targets or TARGETS if not _run(name, chosen.seconds)]
    return 1 if failed else 0


def _run(name: str, seconds: int) -> bool:
    corpus = _FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    done = subprocess.run(
        [
            *(sys.executable, "-m", f"{__package__}.one", name),
            *(f"-max_total_time={seconds}", f"-timeout={_HANG_SECONDS}"),
            *(f"-rss_limit_mb={_MEMORY_MIB}", f"-max_len={_MAX_INPUT_BYTES}"),
            *("-print_final_stats=1", f"-artifact_prefix={_FOLDER}/{name}-", str(corpus)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds + _MARGIN_SECONDS,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        print(output, file=sys.stderr)
    inputs = _last_match(r"number_of_executed_units:\s+(\d+)", output)
    covered = _last_match(r"cov: (\d+)", output)
    memory = _last_match(r"peak_rss_mb:\s+(\d+)", output)
    verdict = "FAILED" if done.returncode else "no failure"
    print(
        f"{name:18} {inputs:>9} inputs, {covered:>5} edges, {memory:>4} MiB: {verdict}", flush=True
    )
    return done.returncode == 0


def _last_match(pattern: str, output: str) -> str:
    matches: list[str] = re.findall(pattern, output)
    return matches[-1] if matches else "?"


if __name__ == "__main__":
    sys.exit(main())
