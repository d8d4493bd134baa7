"""The examples in docs/SEMANTICS.md print the output that the document shows.

Each `console` block is an example. Each example has its own emulator and mount. The line `$
gcsmux-mount ...` starts the mount. One shell runs all other lines that start with `$ `.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.harness import BUCKET, EmulatorProcess, MountProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import NewMount

pytestmark = pytest.mark.mount

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "SEMANTICS.md"
EXAMPLES = re.findall(r"^```console\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
MARK = "\x01"


@pytest.fixture
def emulator(folder: Path) -> Iterator[EmulatorProcess]:
    """A separate emulator for each test, because the examples use the bucket name `my-bucket`."""
    with EmulatorProcess(folder / "buckets") as process:
        yield process
    assert process.log == ""


def commands_of(example: str) -> list[tuple[str, str]]:
    """Split an example into its commands, each with the output that the document shows."""
    parts = re.split(r"^\$ (.*)\n", example, flags=re.MULTILINE)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2], strict=True))


def check(mounted: MountProcess, commands: list[tuple[str, str]]) -> None:
    """Run commands in one shell, and compare each output with the document.

    The shell runs in the folder that contains the mount point.
    """
    shim = [sys.executable, "-m", "tests.mount.gcloud", str(mounted.emulator.port)]
    script = [f'gcloud() {{ PYTHONPATH={shlex.quote(str(ROOT))} {shlex.join(shim)} "$@"; }}']
    for command, _ in commands:
        script += [f"printf '{MARK}'", f"{{ {command}\n}} 2>&1"]
    environment = {**os.environ, "LC_ALL": "C"}
    result = mounted.run_beside("bash", "-c", "\n".join(script), environment=environment)
    outputs = result.stdout.decode().split(MARK)[1:]
    assert [(command, output) for (command, _), output in zip(commands, outputs, strict=True)] == (
        commands
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=range(1, len(EXAMPLES) + 1))
def test_an_example_prints_the_output_shown(
    emulator: EmulatorProcess, mount: NewMount, example: str
) -> None:
    commands = commands_of(example)
    starts = [n for n, (command, _) in enumerate(commands) if command.startswith("gcsmux-mount")]
    assert len(starts) == 1
    start = starts[0]
    *options, bucket, mountpoint = shlex.split(commands[start][0])[1:]
    assert (bucket, mountpoint) == (BUCKET, "mnt")
    mounted = mount(*options)
    check(mounted, commands[:start])
    with mounted:
        check(mounted, commands[start + 1 :])
