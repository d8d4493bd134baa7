"""Fixtures for tests of the packages: the built wheel and sdist."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Distributions:
    """The wheel and the sdist of this checkout, and the exported files of the checkout."""

    wheel: Path
    sdist: Path
    sources: Path


@contextlib.contextmanager
def exclusive_checkout() -> Iterator[None]:
    """Prevent two tests from building in this checkout at the same time, in two processes."""
    lock = ROOT / "build" / ".package-test.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Export the files that git knows, and build the sdist, and the wheel from the sdist."""
    sources = tmp_path_factory.mktemp("sources")
    export = f"git ls-files -z | tar -c --null -T - | tar -x -C {sources}"
    subprocess.run(["bash", "-o", "pipefail", "-c", export], cwd=ROOT, check=True)
    built = tmp_path_factory.mktemp("dist")
    build(sources, built)
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    return Distributions(wheel, sdist, sources)


def build(sources: Path, target: Path, *options: str) -> None:
    """Run `python -m build` as `make dist` does."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "build", *options, "--outdir", target, sources],
        env=os.environ | {"PIP_CONSTRAINT": f"{ROOT}/constraints.txt"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
