"""Draws docs/charts/top.png: `gcsmux top` over a mount that several programs read.

    python -m benchmarks.top_picture

The picture is the real screen of a real mount on /mnt/data, 20 ms away from an emulator that ends
some streams. The script needs root, FUSE and the dependency group `bench`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from gcsmux_fs.commands.mount_argument import chosen_mount
from gcsmux_fs.commands.top_feed import take_snapshot
from gcsmux_fs.commands.top_figures import figures_between
from gcsmux_fs.commands.top_view import top_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.style import Style

__all__ = ["draw", "main"]

COMMANDS = Path(sys.executable).parent
PICTURE = Path(__file__).parents[1] / "docs" / "charts" / "top.png"
MOUNTPOINT = Path("/mnt/data")
COLUMNS, LINES = 100, 29
INTERVAL_SECONDS = 1.0
INTERVALS = 20
SHARDS, SHARD_BYTES = 8, 192 << 20
RULES = """
{"rules": [{"fault": {"kind": "status", "code": "UNAVAILABLE"}, "method": "BidiReadObject",
            "at": "content", "after_bytes": 60000000, "skip": 2, "times": 4}]}
"""

# A dark theme with colours that stay readable for people who do not distinguish red and green.
_BACKGROUND, _FOREGROUND = (24, 27, 33), (222, 226, 232)
_COLOURS = [
    *((24, 27, 33), (232, 106, 106), (120, 200, 130), (236, 190, 90)),
    *((110, 160, 245), (198, 140, 230), (100, 196, 206), (222, 226, 232)),
]
_THEME = TerminalTheme(_BACKGROUND, _FOREGROUND, _COLOURS)
_DIM_PART = 0.55
_FONT = "DejaVu Sans Mono"
_CELL_INCHES, _LINE_INCHES, _MARGIN_INCHES = 0.0875, 0.19, 0.2
_POINTS = _CELL_INCHES * 72 / 0.602


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Run an emulator with a bucket of large objects; yield its address."""
    bucket = folder / "my-bucket" / "train"
    bucket.mkdir(parents=True)
    content = random.Random(1).randbytes(1 << 20)
    for number in range(SHARDS):
        with (bucket / f"shard-{number:05}.tar").open("wb") as file:
            for _ in range(SHARD_BYTES >> 20):
                file.write(content)
    (folder / ".faults.json").write_text(RULES)
    options = ["--latency=20ms", "--bandwidth=120MiB", f"--faults={folder}/.faults.json"]
    with subprocess.Popen(
        [COMMANDS / "gcsmux-emulator", folder, *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def _mounted(address: str) -> Iterator[None]:
    MOUNTPOINT.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "STORAGE_EMULATOR_HOST_GRPC": address}
    options = ["--memory=512MiB", "my-bucket", str(MOUNTPOINT)]
    command = [str(COMMANDS / "gcsmux-mount"), *options]
    subprocess.run(command, env=environment, check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", MOUNTPOINT], check=False, timeout=30)


# Reads files in order, or one region of a file at random positions. The program drops the pages of
# the kernel, so that the mount serves each read.
_PROGRAM = """\
import os, random, sys
kind, names = sys.argv[1], sys.argv[2:]
while True:
    for name in names:
        descriptor = os.open(name, os.O_RDONLY)
        if kind == "order":
            while os.read(descriptor, 1 << 20):
                pass
        else:
            for _ in range(40):
                os.pread(descriptor, 1 << 16, random.randrange(32 << 20))
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
"""


@contextlib.contextmanager
def _load() -> Iterator[None]:
    names = [MOUNTPOINT / "train" / f"shard-{number:05}.tar" for number in range(SHARDS)]
    readers = [
        ("order", names[:3]),
        ("order", names[3:5]),
        ("order", names[5:7]),
        ("random", names[7:]),
    ]
    processes = [
        subprocess.Popen([sys.executable, "-c", _PROGRAM, kind, *files]) for kind, files in readers
    ]
    # Programs that hang are killed, so that the mount can end.
    limit = threading.Timer(INTERVALS * INTERVAL_SECONDS * 3, _kill, [processes])
    limit.start()
    try:
        yield
    finally:
        limit.cancel()
        _kill(processes)


def _kill(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait(10)


def _watch() -> RenderableType:
    mount = chosen_mount(str(MOUNTPOINT))
    history: list[tuple[float, float]] = []
    before = take_snapshot(mount)
    for _ in range(INTERVALS):
        time.sleep(INTERVAL_SECONDS)
        after = take_snapshot(mount)
        figures = figures_between(before, after)
        history.append((figures.reader_rate, figures.wire_rate))
        before = after
    return top_view(figures, history, width=COLUMNS, height=LINES, keys="q quits")


def draw(view: RenderableType, path: Path) -> None:
    """Write a PNG of what a terminal shows of `view`: one text for each cell that is not empty."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Rectangle

    console = Console(width=COLUMNS, height=LINES, color_system="truecolor", force_terminal=True)
    lines = console.render_lines(view, pad=False)
    width = COLUMNS * _CELL_INCHES + 2 * _MARGIN_INCHES
    height = len(lines) * _LINE_INCHES + 2 * _MARGIN_INCHES
    figure = plt.figure(figsize=(width, height), facecolor=_hex(_BACKGROUND))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-_MARGIN_INCHES, width - _MARGIN_INCHES)
    axes.set_ylim(height - _MARGIN_INCHES, -_MARGIN_INCHES)
    axes.axis("off")
    for row, line in enumerate(lines):
        column = 0
        for text, style, _ in line:
            for character in text:
                colour = _hex(_colour(style))
                x, y = column * _CELL_INCHES, row * _LINE_INCHES
                share = _block_share(character)
                if share:
                    size = (_CELL_INCHES * 0.92, _LINE_INCHES * 0.72 * share)
                    corner = (x, y + _LINE_INCHES * 0.88 - size[1])
                    axes.add_patch(Rectangle(corner, *size, color=colour, linewidth=0))
                elif not character.isspace():
                    axes.text(
                        x,
                        y + _LINE_INCHES * 0.8,
                        character,
                        family=_FONT,
                        size=_POINTS,
                        color=colour,
                        weight="bold" if style and style.bold else "normal",
                    )
                column += 1
    figure.savefig(path, dpi=160)
    plt.close(figure)


def _block_share(character: str) -> float:
    """Return the height of a block character as a share of the cell; 0 for other characters."""
    if character == "░":
        return 1.0
    position = "▁▂▃▄▅▆▇█".find(character)
    return (position + 1) / 8


def _colour(style: Style | None) -> tuple[int, int, int]:
    foreground = tuple(_FOREGROUND)
    if style is not None and style.color is not None:
        foreground = tuple(style.color.get_truecolor(_THEME))
    if style is not None and style.dim:
        pairs = zip(foreground, _BACKGROUND, strict=True)
        foreground = tuple(
            round(front * _DIM_PART + back * (1 - _DIM_PART)) for front, back in pairs
        )
    red, green, blue = foreground
    return red, green, blue


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def main() -> None:
    """Draw the picture."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _served(Path(folder)) as address,
        _mounted(address),
        _load(),
    ):
        view = _watch()
    draw(view, PICTURE)


if __name__ == "__main__":
    main()
