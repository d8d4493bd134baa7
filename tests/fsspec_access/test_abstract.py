"""fsspec's own tests, as far as they apply to a read-only file system: those of `get`.

fsspec's fixtures create files through the file system. Here, a subclass creates them as objects of
the emulator. The tests of `copy`, `put`, `pipe` and `mv` write, so they do not apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from gcsmux_fs.fsspec_access.file_system import GcsmuxFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.emulator_process import EmulatorProcess


class _WritableFileSystem(GcsmuxFileSystem):
    """Creates and removes objects as fsspec's fixtures do, behind the back of the reader."""

    cachable = False

    def attach(self, emulator: EmulatorProcess) -> _WritableFileSystem:
        self.emulator = emulator
        return self

    def _name(self, path: str) -> str:
        return str(path).partition("/")[2]

    def touch(self, path: str, *_: Any, **__: Any) -> None:  # type: ignore[override]
        self.pipe(path, b"")

    def pipe(self, path: str, value: bytes = b"", **_: Any) -> None:
        self.emulator.place(self._name(path), value)
        self.invalidate_cache()

    def makedirs(self, path: str, *_: Any, **__: Any) -> None:
        """A folder exists as soon as it has an object."""

    def mkdir(self, path: str, *_: Any, **__: Any) -> None:
        """A folder exists as soon as it has an object."""

    def rm(self, path: str, *_: Any, **__: Any) -> None:
        """The bucket is removed after the test."""


class TestGet(AbstractFixtures, AbstractGetTests):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, emulator: EmulatorProcess) -> _WritableFileSystem:
        fs = _WritableFileSystem(endpoint=emulator.endpoint, plaintext=True, anonymous=True)
        return fs.attach(emulator)

    @pytest.fixture
    def fs_path(self, emulator: EmulatorProcess) -> str:
        return emulator.bucket_name

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False
