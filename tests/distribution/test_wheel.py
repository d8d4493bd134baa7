"""Tests of the wheel and the sdist: content, metadata, and a mount from an empty environment."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.metadata import Metadata

from gcsmux_fs import __version__
from tests.distribution.conftest import ROOT, TIMEOUT_SECONDS, Distributions, build
from tests.distribution.interpreters import find_interpreter
from tests.support.harness import EmulatorProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.package

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTENT = os.urandom(3_000_001)


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_sdist_gives_the_same_wheel_as_the_checkout(
    distributions: Distributions, tmp_path: Path
) -> None:
    build(distributions.sources, tmp_path, "--wheel")
    (direct,) = tmp_path.glob("*.whl")
    assert members(direct) == members(distributions.wheel)


def test_the_wheel_contains_the_files_that_are_no_modules(distributions: Distributions) -> None:
    names = members(distributions.wheel).keys()
    data = f"gcsmux_fs-{__version__}.data/data/share"
    assert {
        "gcsmux_fs/py.typed",
        "gcsmux_fs/systemd/gcsmux@.service",
        f"{data}/man/man1/gcsmux.1",
        f"{data}/man/man8/gcsmux-mount.8",
        f"{data}/bash-completion/completions/gcsmux",
        f"gcsmux_fs-{__version__}.dist-info/licenses/LICENSE",
    } <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"gcsmux_fs"}


def test_the_sdist_has_no_files_of_a_build_or_a_machine(distributions: Distributions) -> None:
    with tarfile.open(distributions.sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {name.partition("/")[0] for name in names} <= {
        "",
        *("CHANGELOG.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "constraints.txt"),
        *("gcsmux_fs", "gcsmux_fs.egg-info", "pyproject.toml", "setup.cfg", "share", "systemd"),
    }
    assert not [name for name in names if "__pycache__" in name]


def test_the_metadata_is_valid(distributions: Distributions) -> None:
    (text,) = [
        content
        for name, content in members(distributions.wheel).items()
        if name.endswith("/METADATA")
    ]
    metadata = Metadata.from_email(text, validate=True)
    assert str(metadata.version) == PYPROJECT["project"]["version"] == __version__
    assert metadata.license_expression == "Apache-2.0"
    assert str(metadata.requires_python) == ">=3.11"
    assert metadata.description_content_type == "text/markdown"
    readme = email.message_from_bytes(text).get_payload()
    assert isinstance(readme, str)
    assert readme.startswith("# gcsmux-fs\n")


@pytest.mark.mount
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_wheel_mounts_from_an_empty_environment(
    version: str, distributions: Distributions, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    command(find_interpreter(version), "-m", "venv", "--without-pip", environment)
    pip = [sys.executable, "-m", "pip", "-qq", "--python", f"{environment}/bin/python"]
    constraints = ["--constraint", f"{ROOT}/constraints.txt"]
    command(*pip, "install", *constraints, distributions.wheel)
    command(*pip, "check")
    commands = environment / "bin"
    shown = command(commands / "gcsmux", "--version")
    assert shown == f"gcsmux, version {__version__}\n"
    assert "MOUNTPOINT" in command(commands / "gcsmux-mount", "--help")
    assert (environment / "share/man/man8/gcsmux-mount.8").exists()
    with EmulatorProcess(tmp_path / "buckets") as emulator:
        emulator.place("object", CONTENT)
        mountpoint = tmp_path / "mnt"
        mountpoint.mkdir()
        service = {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint}
        command(commands / "gcsmux-mount", emulator.bucket_name, mountpoint, **service)
        try:
            command("timeout", "30", "cmp", mountpoint / "object", emulator.bucket / "object")
            assert str(mountpoint) in command(commands / "gcsmux", "list")
        finally:
            command(*(["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]), mountpoint)


def command(*words: str | Path, **environment: str) -> str:
    """Run a command outside of the checkout, and return its output; it must succeed."""
    done = subprocess.run(
        words,
        env={**os.environ, **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}"
    return done.stdout
