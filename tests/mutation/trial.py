"""One trial: the tests run against a module whose source is another one."""

from __future__ import annotations

import importlib
import math
import os
import resource
import sys
import time
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import CodeType, ModuleType

__all__ = ["SURVIVED", "prepare", "try_tests"]

SURVIVED = pytest.ExitCode.OK

# A mutant may loop for ever, and gather memory in its loop. No group of tests takes so many seconds
# by half, nor a tenth of the memory.
_PROCESSOR_SECONDS = 20
_MEMORY_BYTES = 2 * 1024**3
_OPTIONS = [
    *("-x", "-q", "-p", "no:cacheprovider", "-k", "not in_real"),
    # Nobody reads why a mutant was killed.
    *("--tb=no", "--assert=plain"),
    # Of hypothesis, which is among what is imported before.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]
# What the tests import beside the package under test: imported once, inherited by every trial.
_SHARED = ("google.protobuf", "grpc.aio", "hypothesis.stateful", "trio.testing")


def prepare() -> None:
    """Make ready, in the process that all trials descend from, what they have in common."""
    for name in _SHARED:
        importlib.import_module(name)
    # The same examples for every mutant; a failure needs no small example here.
    settings.register_profile(
        "mutation",
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )
    settings.load_profile("mutation")


def try_tests(path: Path, source: str, tests: Iterable[Sequence[str]], *, quiet: bool) -> None:
    """Run groups of test files with `source` for the module at `path`; exit as pytest does."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if quiet:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    name = ".".join(path.with_suffix("").parts)
    sys.meta_path.insert(0, _Finder(name, path, source))
    # Most mutants are killed by the first files: the others are not even imported then.
    for some in tests:
        end = math.ceil(time.process_time()) + _PROCESSOR_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))
        if code := pytest.main([*_OPTIONS, *some]):
            sys.exit(code)


class _Finder(MetaPathFinder):
    """Finds one module, whose code is that of another source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name = name
        self._path = path
        self._source = source

    def find_spec(
        self,
        fullname: str,
        _path: Sequence[str] | None,
        _target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return how to import the module, if it is the one."""
        if fullname != self._name:
            return None
        loader = _Loader(fullname, str(self._path), self._source)
        return spec_from_file_location(fullname, self._path, loader=loader)


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, _fullname: str) -> CodeType:
        return self.source_to_code(self._source.encode(), self.path)
