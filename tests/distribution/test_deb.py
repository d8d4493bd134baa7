"""Tests of the Debian package: content, and its life on a booted machine.

The machine is a container with the Debian of this machine, see tests/boot/machine.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs import __version__
from tests.boot.machine import CannotBoot, Machine, skip_without_boot
from tests.distribution.conftest import ROOT, TIMEOUT_SECONDS, exclusive_checkout
from tests.support.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.package]

CONTENT = os.urandom(3_000_001)
OBJECT = "/srv/buckets/my-bucket/object"
EMULATOR = """\
[Service]
ExecStart=/usr/bin/gcsmux-emulator /srv/buckets --port 9000
"""
CACHE = ("--cache-dir", "/var/cache/gcsmux", "--cache-min-free", "0")
SERVICE = ("--endpoint", "127.0.0.1:9000", "--plaintext", "--anonymous")
OPTIONS = "ro,endpoint=127.0.0.1:9000,plaintext,anonymous"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that `make deb` builds. Another process may build it again."""
    if not Path("/usr/bin/dpkg-deb").exists():
        pytest.skip("only Debian can build a Debian package")
    with exclusive_checkout():
        for old in (ROOT / "dist").glob("*.deb"):
            old.unlink()
        run("make", "-C", ROOT, "deb")
        (package,) = (ROOT / "dist").glob("*.deb")
        return Path(shutil.copy(package, tmp_path_factory.mktemp("package")))


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A booted machine without gcsmux. emulator.service can start when the package is installed."""
    try:
        machine = Machine()
    except CannotBoot as reason:
        skip_without_boot(reason)
    with machine:
        for command in ("gcsmux", "gcsmux-mount", "gcsmux-emulator"):
            machine.remove(f"/usr/local/bin/{command}")
        # Images for containers have this file, which keeps packages from starting services.
        machine.remove("/usr/sbin/policy-rc.d")
        machine.write("/etc/systemd/system/emulator.service", EMULATOR)
        machine.write(OBJECT, CONTENT)
        for directory in ("mnt/data", "mnt/other", "etc/systemd/system/multi-user.target.wants"):
            (machine.root / directory).mkdir(parents=True, exist_ok=True)
        try:
            machine.boot()
        except CannotBoot as reason:
            skip_without_boot(reason)
        yield machine


def run(*words: str | Path) -> str:
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files(machine: Machine) -> set[str]:
    """Return all files in the directories where packages install files."""
    found = machine.run("find", "/etc", "/mnt", "/opt", "/usr")
    return set(found.stdout.splitlines())


def read(machine: Machine, path: str) -> None:
    """Check that a file of a mount has the content of the object."""
    machine.run("cmp", path, OBJECT)


def next_version(package: Path, folder: Path) -> Path:
    """Return a package with the same files and a higher version."""
    run("dpkg-deb", "--raw-extract", package, folder / "files")
    control = folder / "files" / "DEBIAN" / "control"
    control.write_text(
        control.read_text().replace(f"Version: {__version__}\n", f"Version: {__version__}+1\n")
    )
    run("dpkg-deb", "-Znone", "--root-owner-group", "--build", folder / "files", folder / "new.deb")
    return folder / "new.deb"


def test_the_package_contains_what_debian_expects(package: Path) -> None:
    listed = run("dpkg-deb", "--contents", package)
    paths = set(re.findall(r" \.(/\S*)(?: -> \S+)?$", listed, flags=re.MULTILINE))
    assert {
        *("/usr/bin/gcsmux", "/usr/bin/gcsmux-mount", "/usr/bin/gcsmux-emulator"),
        *("/usr/sbin/mount.gcsmux", "/lib/systemd/system/gcsmux@.service", "/etc/gcsmux/"),
        *("/usr/share/man/man1/gcsmux.1.gz", "/usr/share/man/man8/gcsmux-mount.8.gz"),
        *("/usr/share/bash-completion/completions/gcsmux",),
        *("/usr/share/zsh/vendor-completions/_gcsmux",),
        *("/usr/share/fish/vendor_completions.d/gcsmux.fish",),
        *("/usr/share/doc/gcsmux/copyright", "/usr/share/doc/gcsmux/README.Debian"),
    } <= paths
    assert not [path for path in paths if "__pycache__" in path]
    unreadable = [line for line in listed.splitlines() if not re.match(r"l|.{7}r", line)]
    assert unreadable == []
    # docs/OPERATIONS.md has the same command, and a test runs it.
    hint = "sed -i 's/^PRUNEFS=\"/&fuse.gcsmux-mount /' /etc/updatedb.conf\n"
    assert hint in (ROOT / "docs" / "OPERATIONS.md").read_text()
    assert hint in (ROOT / "distribution" / "deb" / "README.Debian").read_text()
    fields = run("dpkg-deb", "--field", package)
    assert f"Version: {__version__}\n" in fields


@pytest.mark.mount
def test_the_life_of_the_package(package: Path, machine: Machine, tmp_path: Path) -> None:
    before = files(machine)
    machine.write("/srv/gcsmux.deb", package.read_bytes())
    machine.write("/srv/new.deb", next_version(package, tmp_path).read_bytes())

    machine.run("apt-get", "install", "--yes", "/srv/gcsmux.deb", seconds=120)
    machine.run("systemctl", "start", "emulator")
    assert __version__ in machine.run("gcsmux", "--version").stdout
    # A unit: the package contains it, so install-unit writes only the configuration.
    installed = machine.run(
        *("gcsmux", "install-unit", "my-bucket", "/mnt/data", *SERVICE, *CACHE, "--yes", "--now")
    )
    assert "the unit of the package is used" in installed.stdout
    assert "write /etc/gcsmux/data.toml" in installed.stdout
    read(machine, "/mnt/data/object")
    # Another user runs the mount, and owns the directory that install-unit creates.
    machine.run(
        *("gcsmux", "install-unit", "my-bucket", "/mnt/user", *SERVICE, "--yes", "--now"),
        *("--mkdir", "--user", "nobody"),
    )
    machine.run("runuser", "-u", "nobody", "cmp", "/mnt/user/object", OBJECT)
    machine.run("gcsmux", "uninstall-unit", "user", "--yes")
    assert not (machine.root / "mnt/user").exists()
    # mount(8) finds mount.gcsmux.
    machine.run("mount", "-t", "gcsmux", "-o", OPTIONS, "my-bucket", "/mnt/other")
    read(machine, "/mnt/other/object")
    machine.run("umount", "/mnt/other")

    # An upgrade keeps the mount, and the mount still finds what it needs.
    process = machine.show("gcsmux@data", "MainPID")
    machine.run("apt-get", "install", "--yes", "/srv/new.deb", seconds=120)
    machine.write("/srv/buckets/my-bucket/later", CONTENT)
    read(machine, "/mnt/data/later")
    assert machine.show("gcsmux@data", "MainPID") == process
    machine.run("systemctl", "restart", "gcsmux@data")
    read(machine, "/mnt/data/later")
    # The restarted mount had the bytes on the disk.
    assert "disk_cache_hits " in machine.run("gcsmux", "stats", "/mnt/data").stdout

    # Removal unmounts and keeps the configuration. Purging leaves nothing.
    machine.run("apt-get", "remove", "--yes", "gcsmux", seconds=120)
    assert "/mnt/data" not in machine.run("cat", "/proc/mounts").stdout
    assert (machine.root / "etc/gcsmux/data.toml").exists()
    assert not (machine.root / "usr/lib/gcsmux").exists()
    machine.run("apt-get", "purge", "--yes", "gcsmux", seconds=120)
    wait_until(lambda: machine.state("gcsmux@data") in ("inactive", "failed"), "the unit ends")
    assert files(machine) - before == set()
    assert not (machine.root / "var/cache/gcsmux").exists()
