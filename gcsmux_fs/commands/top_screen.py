"""The live screen of `gcsmux top`: refreshes it, reads keys, and follows the terminal's size."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections import deque
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from gcsmux_fs.commands.top_feed import MountEnded, SnapshotFeed
from gcsmux_fs.commands.top_figures import figures_between
from gcsmux_fs.commands.top_view import top_view
from gcsmux_fs.model.errors import GcsmuxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from gcsmux_fs.commands.top_figures import MountSnapshot, TopFigures
    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = ["show_live"]

# How often keys, answers and the size of the terminal are looked at.
_TICK_SECONDS = 0.1
# The rates that are kept for the graph. A wide terminal does not show more.
_HISTORY = 200
_QUIT_KEYS = frozenset({"q", "Q", "\x03", "\x04"})


def show_live(mount: MountEntry, console: Console, interval: float) -> str:
    """Show the screen until the user quits (by `q` or Ctrl+C) or the mount ends.

    Returns:
        "" after the user has quit, or a sentence if the mount has ended.
    """
    screen = _Screen(console)
    with (
        contextlib.suppress(KeyboardInterrupt),
        SnapshotFeed(mount) as feed,
        _keys() as keyboard,
        Live(screen.render(), console=console, screen=True, auto_refresh=False) as live,
    ):
        due = 0.0
        while True:
            now = time.monotonic()
            if now >= due:
                feed.request()
                due = now + interval
            try:
                screen.add(feed.poll())
            except MountEnded as error:
                return str(error)
            except GcsmuxError as error:
                screen.fail(str(error))
            if screen.is_stale(now):
                live.update(screen.render(), refresh=True)
            if keyboard.pressed(_TICK_SECONDS) & _QUIT_KEYS:
                break
    return ""


class _Screen:
    """The last figures, the history, and whether the terminal shows them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: MountSnapshot | None = None
        self._figures: TopFigures | None = None
        self._history: deque[tuple[float, float]] = deque(maxlen=_HISTORY)
        self._notice = ""
        self._shown: object = None
        self._changes = 0

    def add(self, snapshot: MountSnapshot | None) -> None:
        """Use a new snapshot; None changes nothing."""
        if snapshot is None:
            return
        if self._last is not None:
            self._figures = figures_between(self._last, snapshot)
            self._history.append((self._figures.reader_rate, self._figures.wire_rate))
        self._last, self._notice = snapshot, ""
        self._changes += 1

    def fail(self, sentence: str) -> None:
        """Show that the mount did not answer. The last figures stay."""
        self._notice = sentence.partition(":")[0].removesuffix(".")
        self._changes += 1

    def is_stale(self, _now: float) -> bool:
        """Return whether figures or the size of the terminal have changed since `render`."""
        return self._shown != (self._changes, self._console.size)

    def render(self) -> RenderableType:
        """Return what the terminal should show."""
        size = self._console.size
        self._shown = (self._changes, size)
        if self._figures is None:
            return Text(self._notice or "measuring ...", "dim")
        return top_view(
            self._figures,
            self._history,
            width=size.width,
            height=size.height,
            notice=self._notice,
            keys="q quits",
        )


class _Keyboard:
    """Reads single keys from a terminal, or nothing if stdin is not a terminal."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def pressed(self, seconds: float) -> set[str]:
        """Wait up to `seconds` for keys, and return them."""
        if self._descriptor is None:
            time.sleep(seconds)
            return set()
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            return set()
        received = os.read(self._descriptor, 64)
        if not received:  # the terminal is gone
            return {"q"}
        return set(received.decode(errors="replace"))


@contextlib.contextmanager
def _keys() -> Iterator[_Keyboard]:
    """Read keys without waiting for the end of a line, and restore the terminal afterwards."""
    if not sys.stdin.isatty():
        yield _Keyboard(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield _Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
