"""The progress of a warm-up: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gcsmux_fs.metrics.readable import shown_bytes
from gcsmux_fs.process.standard_streams import print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsmux_fs.control.protocol import Json

__all__ = ["warm_progress"]

# Time between two lines in seconds, if stderr is no terminal.
_LINE_SECONDS = 5.0


@contextmanager
def warm_progress(where: str, files: int, total_bytes: int) -> Iterator[Callable[[Json], None]]:
    """Yield a function that shows the counts of a warm-up of `files` files on stderr."""
    # Imported here, because rich takes 0.1 s to load, and usage errors are answered without it.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_writer(where, files, total_bytes)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(where, total=total_bytes)

        def show(counts: Json) -> None:
            text = f"{where}: {counts['files_done']}/{files} files"
            progress.update(task, completed=counts["bytes_done"], description=text)

        yield show


def _line_writer(where: str, files: int, total_bytes: int) -> Callable[[Json], None]:
    began = last = time.monotonic()

    def show(counts: Json) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LINE_SECONDS:
            return
        last = now
        done = counts["bytes_done"]
        rate = done / (now - began)
        left = f", {(total_bytes - done) / rate:.0f} s left" if rate else ""
        print_error(
            f"{where}: {counts['files_done']} of {files} files, {shown_bytes(done)} of"
            f" {shown_bytes(total_bytes)}, {shown_bytes(int(rate))}/s{left}"
        )

    return show
