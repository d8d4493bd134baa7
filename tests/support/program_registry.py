"""The programs whose READs are recorded (see `traced_programs`), by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["PROGRAMS", "program", "zeros"]

_Step = tuple["Callable[[Path], None]", "Callable[[Path], None]"]
PROGRAMS: dict[str, _Step] = {}
"""For each program: the function that writes its files, and the function that reads them."""


def program(
    prepare: Callable[[Path], None],
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Add a function to `PROGRAMS`, under its name; `prepare` writes its files."""

    def add(run: Callable[[Path], None]) -> Callable[[Path], None]:
        PROGRAMS[run.__name__] = (prepare, run)
        return run

    return add


def zeros(size: int) -> Callable[[Path], None]:
    """Return a function that writes a sparse file `data` of `size` bytes."""

    def write(folder: Path) -> None:
        with (folder / "data").open("wb") as file:
            file.truncate(size)

    return write
