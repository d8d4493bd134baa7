"""Runs one trial: the tests run with a mutant in place of its module."""

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

# Limits of a trial: processor time for each group of tests, and memory. The limits are necessary
# because a mutant may loop forever and allocate memory in the loop. Without a mutant, a group of
# tests takes less than half of this time and less than a tenth of this memory.
_PROCESSOR_SECONDS = 20
_MEMORY_BYTES = 2 * 1024**3
_OPTIONS = [
    *("-x", "-q", "-p", "no:cacheprovider", "-k", "not in_real"),
    # Print no report, because the exit code says whether the mutant was killed.
    *("--tb=no", "--assert=plain"),
    # Pytest would warn about hypothesis, because `prepare` imports it before pytest starts.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]
# Modules that the tests import. `prepare` imports these modules once, and every trial inherits the
# imported modules.
_SHARED = ("google.protobuf", "grpc.aio", "hypothesis.stateful", "trio.testing")


def prepare() -> None:
    """Prepare the parent process of all trials: import shared modules, set hypothesis's profile."""
    for name in _SHARED:
        importlib.import_module(name)
    # With this profile, the tests of every mutant use the same examples, and hypothesis does not
    # search for a smaller failing example.
    settings.register_profile(
        "mutation",
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )
    settings.load_profile("mutation")


def try_tests(path: Path, source: str, tests: Iterable[Sequence[str]], *, quiet: bool) -> None:
    """Run groups of test files with `source` in place of the module at `path`.

    The process exits with pytest's exit code after the first group that fails.
    """
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if quiet:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1)
        os.dup2(devnull, 2)
    name = ".".join(path.with_suffix("").parts)
    sys.meta_path.insert(0, _Finder(name, path, source))
    # The groups run one after the other. The first group kills most mutants, so that the files of
    # later groups are not even imported.
    for group in tests:
        end = math.ceil(time.process_time()) + _PROCESSOR_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))
        if code := pytest.main([*_OPTIONS, *group]):
            sys.exit(code)


class _Finder(MetaPathFinder):
    """Finds one module and loads the module from another source text."""

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
        """Return the specification of the module; None for every other module."""
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
