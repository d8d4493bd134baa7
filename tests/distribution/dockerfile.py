"""Builds and runs the image of a Dockerfile without Docker, with systemd-nspawn.

The base image is the root of this machine, which must be Debian 12, as the one in the Dockerfile.
An overlay in memory takes all writes of a stage. Only the instructions of this project's Dockerfile
are known.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.boot.machine import PRIVATELY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

__all__ = ["BASE_IMAGE", "Image", "Instruction", "instructions"]

BASE_IMAGE = "debian:12-slim"
RUN_SECONDS = 300.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# $1 is a folder. The keeper holds a mount namespace with one overlay for each later line on stdin.
# A machine with cgroup1 has its cgroup2 elsewhere, but systemd-nspawn needs one hierarchy.
_KEEPER = """\
set -eu
if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount -R /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount -t tmpfs -o size=2g tmpfs "$1"
mount -t tmpfs -o mode=755 tmpfs /run
while read -r stage; do
  mkdir -p "$1/$stage/upper" "$1/$stage/work" "$1/$stage/root"
  mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$1/$stage/upper,workdir=$1/$stage/work" "$1/$stage/root"
  echo ready
done
"""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, such as RUN, and its arguments as one text."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments: the elements of a JSON array, or the words of a shell."""
        if self.text.startswith("["):
            return [str(word) for word in json.loads(self.text)]
        return shlex.split(self.text)


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name, rest) for name, rest in pairs]


@dataclass
class Image:
    """A built image. `root` is its root directory, as this process sees it."""

    context: Path
    folder: Path
    binds: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    entry_point: list[str] = field(default_factory=list)
    health_check: list[str] = field(default_factory=list)
    _stages: list[str] = field(default_factory=list)
    _directory: str = "/"

    def __enter__(self) -> Self:
        self._keeper = subprocess.Popen(
            [
                *PRIVATELY,
                *("sh", "-c", _KEEPER, "sh", str(self.folder)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.stdout.close()
        self._keeper.wait(RUN_SECONDS)

    @property
    def root(self) -> Path:
        return self._stage_root(self._stages[-1])

    def _stage_root(self, stage: str) -> Path:
        return Path(f"/proc/{self._keeper.pid}/root{self.folder}/{stage}/root")

    def build(self, dockerfile: str) -> None:
        """Carry out all instructions."""
        for each in instructions(dockerfile):
            getattr(self, f"_{each.name.lower()}")(each)

    def _from(self, each: Instruction) -> None:
        base, _, name = each.text.partition(" AS ")
        assert base == BASE_IMAGE
        stage = name or "final"
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{stage}\n")
        self._keeper.stdin.flush()
        assert self._keeper.stdout.readline() == "ready\n"
        self._stages.append(stage)
        self._directory = "/"

    def _workdir(self, each: Instruction) -> None:
        self._directory = each.text
        self._inside(each.text).mkdir(parents=True)

    def _copy(self, each: Instruction) -> None:
        *sources, target = [word for word in each.words if not word.startswith("--")]
        base = self.context
        for word in each.words:
            if word.startswith("--from="):
                base = self._stage_root(word.partition("=")[2])
        for source in sources:
            origin = base / source.lstrip("/")
            place = self._inside(os.path.normpath(f"{self._directory}/{target}"))
            if origin.is_dir():
                shutil.copytree(origin, place, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy2(origin, place)

    def _run(self, each: Instruction) -> None:
        done = self.container("sh", "-c", each.text, directory=self._directory)
        assert done.returncode == 0, f"{each.text}\n{done.stdout}{done.stderr}"

    def _env(self, each: Instruction) -> None:
        self.environment |= dict(word.split("=", 1) for word in each.words)

    def _entrypoint(self, each: Instruction) -> None:
        self.entry_point = each.words

    def _cmd(self, each: Instruction) -> None:
        assert each.words

    def _healthcheck(self, each: Instruction) -> None:
        self.health_check = ["sh", "-c", each.text.partition(" CMD ")[2]]

    def _inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def command(self, *words: str, directory: str = "/", options: Sequence[str] = ()) -> list[str]:
        """Return the command that runs `words` as process 1 of a container of the image.

        As with Docker, the container has the environment of the image, and nothing of the caller.
        The network is that of this machine.
        """
        environment = [f"--setenv={name}={text}" for name, text in self.environment.items()]
        binds = [f"--bind={path}" for path in self.binds]
        return [
            *("nsenter", f"--target={self._keeper.pid}", "--mount", "--"),
            *("systemd-nspawn", "--quiet", f"--directory={self.folder}/{self._stages[-1]}/root"),
            *("--register=no", "--keep-unit", "--console=pipe", f"--chdir={directory}"),
            *("--link-journal=no", "--timezone=off", *environment, *binds, *options, "--"),
            *words,
        ]

    def container(
        self, *words: str, directory: str = "/", options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of the image, and wait for its end."""
        return subprocess.run(
            self.command(*words, directory=directory, options=options),
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
