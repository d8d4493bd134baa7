"""Fixtures for tests that start the real command: emulator, mount point, mount namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent
NOBODY = 65534
# The first words of a command that runs as the user nobody. The capability dac_read_search lets
# this user read the checkout, whatever the permissions of its files are.
AS_NOBODY = (
    f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
    " --inh-caps=+dac_read_search --ambient-caps=+dac_read_search"
)
LIMIT_SECONDS = 90

# The start of every script. In the mount namespace of the script, every user may open /dev/fuse,
# and /usr/local/bin contains gcsmux-mount. All mounts of the script end when the script ends.
_NAMESPACE = """\
mkdir -p "$1/private" && mount -t tmpfs none "$1/private" && cd "$1/private" || exit 99
mknod -m 666 fuse c 10 229 && mount --bind fuse /dev/fuse || exit 99
cp /etc/fuse.conf fuse.conf && mount --bind fuse.conf /etc/fuse.conf || exit 99
mount -t tmpfs none /usr/local/bin && ln -s "$2/gcsmux-mount" /usr/local/bin || exit 99
cd "$1" || exit 99
"""
# Shell functions for the scripts.
# refused COMMAND...: run a command that must fail, and print its error message.
# obey: run the command between backquotes in the last error message.
# follow COMMAND...: run a command that must fail, and obey its error message; repeat this until the
#     command succeeds.
_FUNCTIONS = """\
refused() {
  if "$@" 2>"$FOLDER/message" </dev/null; then echo "not refused: $*"; exit 98; fi
  cat "$FOLDER/message"
}
advised() { sed -n 's/^[^`]*`\\([^`]*\\)`.*$/\\1/p' "$FOLDER/message"; }
obey() {
  advice=$(advised)
  [ -n "$advice" ] || { echo "no advice"; exit 97; }
  if grep -q 'have root' "$FOLDER/message"; then bash -c "$advice"; else $AS bash -c "$advice"; fi
}
follow() {
  for attempt in 1 2 3 4; do
    "$@" 2>"$FOLDER/message" </dev/null && { [ $attempt = 1 ] && exit 96; return 0; }
    cat "$FOLDER/message"; obey || exit 95
  done
  exit 94
}
"""


@dataclass(frozen=True)
class Role:
    """A user of the command, who runs bash scripts in a separate mount namespace.

    In a script, `$AS COMMAND` runs a command as this user. Commands without `$AS` run as root.
    `$MNT` is an empty directory in `$FOLDER`, and belongs to this user. The mounts of a script end
    when the script ends.
    """

    user: int
    folder: Path
    environment: dict[str, str]

    def run(self, script: str) -> str:
        """Run a script, which must exit with code 0, and return its output."""
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", _NAMESPACE + _FUNCTIONS + script, "bash"]  # noqa: RUF005
            + [os.fspath(self.folder), os.fspath(BIN)],
            env=self.environment
            | {
                "AS": AS_NOBODY if self.user else "",
                "OTHER": "" if self.user else AS_NOBODY,
                "FOLDER": os.fspath(self.folder),
                "MNT": os.fspath(self.folder / "mnt"),
                "PATH": f"/usr/local/bin:{os.environ['PATH']}",
                "PYTHON": sys.executable,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(params=[0, NOBODY], ids=["root", "user"])
def role(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Role]:
    """Run each test twice: with root as the user of the command, and with the user nobody."""
    if os.geteuid() != 0:
        pytest.skip("needs root to run commands as both users")
    # `tmp_path` cannot be used here, because other users cannot enter the folder that pytest
    # provides.
    folder = Path(tempfile.mkdtemp(prefix="gcsmux-"))
    try:
        for path, mode in ((folder, 0o755), (folder / "mnt", 0o755)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
            os.chown(path, request.param, request.param)
        yield Role(request.param, folder, environment)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an emulator with the object dir/hello in my-bucket; yield the emulator's HOST:PORT."""
    folder = tmp_path_factory.mktemp("buckets")
    (folder / "my-bucket" / "dir").mkdir(parents=True)
    (folder / "my-bucket" / "dir" / "hello").write_text("hello\n")
    with subprocess.Popen(
        [BIN / "gcsmux-emulator", folder, "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("gcsmux-emulator listening on "), line
        yield line.split()[-1]
        process.terminate()


@pytest.fixture
def mountpoint(tmp_path: Path) -> Iterator[Path]:
    """Yield an empty directory; unmount everything from it after the test."""
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    for _ in range(10):
        if subprocess.run(["umount", "-l", path], capture_output=True, check=False).returncode:
            break


@pytest.fixture
def environment(emulator: str) -> dict[str, str]:
    """Return the environment of a command that uses the emulator."""
    return {
        **{name: text for name, text in os.environ.items() if name != "NOTIFY_SOCKET"},
        "STORAGE_EMULATOR_HOST_GRPC": emulator,
    }
