"""Samba and NFS-Ganesha export a mount with the configurations of docs/OPERATIONS.md.

Each server listens on a free port of 127.0.0.1. `scripts/bootstrap operations` installs both
servers.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.mount.operations import block, moved, needs, needs_root
from tests.support import programs
from tests.support.harness import END_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = [pytest.mark.mount, needs_root]

LARGE = programs.tagged(7, 0, 3 * 1024 * 1024)
# TTL of names on the mount in seconds. A test waits a little longer than this TTL before it looks
# for new names.
TTL_SECONDS = 1
SOON = ("--metadata-ttl", f"{TTL_SECONDS}s", "--negative-ttl", f"{TTL_SECONDS}s")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def place_objects(emulator: EmulatorProcess) -> None:
    emulator.place("first", b"first\n")
    emulator.place("folder/large", LARGE)
    for number in range(300):
        emulator.place(f"many/{number:03}", b"")


@contextmanager
def server(log: Path, *command: str | Path, port: int) -> Iterator[None]:
    """Run a server during the block. The block begins when the server accepts connections."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        ) as process,
    ):

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_until(listens, "the server listens")
            yield
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def samba(mounted: MountProcess, folder: Path) -> Iterator[list[str | Path]]:
    """Export the mount with Samba; yield the first words of a client's command line."""
    place = folder / "samba"
    place.mkdir()
    port = free_port()
    folders = ["lock directory", "state directory", "cache directory", "pid directory"]
    folders += ["private dir", "ncalrpc dir"]
    settings = ["[global]", f"smb ports = {port}", "interfaces = lo", "bind interfaces only = yes"]
    settings += ["disable netbios = yes", "map to guest = Bad User", "load printers = no"]
    settings += [f"log file = {place}/log", *(f"{name} = {place}" for name in folders)]
    settings.append(moved(block("smbconf"), {"/mnt/data": mounted.path}))
    (place / "smb.conf").write_text("\n".join(settings))
    command = ["smbd", "--foreground", f"--configfile={place / 'smb.conf'}"]
    with server(place / "out", *command, port=port):
        yield ["smbclient", "-s", place / "smb.conf", "//127.0.0.1/data", "-p", str(port), "-N"]


@needs("smbd", "smbclient")
def test_samba_serves_a_mount(emulator: EmulatorProcess, mount: NewMount, folder: Path) -> None:
    place_objects(emulator)
    emulator.place("co:lon", b"colon")
    with mount(*SOON) as mounted, samba(mounted, folder) as client:

        def ask(commands: str) -> str:
            done = mounted.run_beside(*client, "-c", commands)
            return (done.stdout + done.stderr).decode()

        ask("get first copy; cd folder; get large large")
        assert (mounted.folder / "copy").read_bytes() == b"first\n"
        assert (mounted.folder / "large").read_bytes() == LARGE
        assert len(re.findall(r"^  \d{3} ", ask("cd many; ls"), re.MULTILINE)) == 300
        (short,) = re.findall(r"^  (C\S+~\S) ", ask("ls"), re.MULTILINE)
        ask(f"get {short} copy")
        assert (mounted.folder / "copy").read_bytes() == b"colon"
        for refused in ("put large new", "del first", "mkdir new"):
            assert "NT_STATUS_ACCESS_DENIED" in ask(refused)
        ask("get FIRST copy")
        assert (mounted.folder / "copy").read_bytes() == b"first\n"

        emulator.place("first", b"changed\n")
        emulator.place("new", b"new\n")
        time.sleep(TTL_SECONDS + 0.2)
        ask("get first copy; get new new")
        assert (mounted.folder / "copy").read_bytes() == b"changed\n"
        assert (mounted.folder / "new").read_bytes() == b"new\n"


@contextmanager
def ganesha(mounted: MountProcess, folder: Path) -> Iterator[str]:
    """Export the mount with NFS-Ganesha; yield the URL, in which {} stands for the path."""
    place = folder / "ganesha"
    place.mkdir()
    port = free_port()
    configuration = moved(block("ganesha"), {"/mnt/data": mounted.path})
    here = f"NFS_Port = {port}; Bind_addr = 127.0.0.1;"
    for old, new in {
        "Protocols = 4; }": f"Protocols = 4; {here} Enable_NLM = false; Enable_RQUOTA = false; }}",
        "Graceless = true;": f"Graceless = true; RecoveryRoot = {place};",
    }.items():
        assert old in configuration
        configuration = configuration.replace(old, new)
    (place / "ganesha.conf").write_text(configuration)
    command: list[str | Path] = ["ganesha.nfsd", "-F", "-f", place / "ganesha.conf"]
    command += ["-L", place / "log", "-p", place / "pid"]
    with server(place / "out", *command, port=port):
        yield f"nfs://127.0.0.1/data/{{}}?version=4&nfsport={port}&uid=1000&gid=1000"


@needs("ganesha.nfsd", "nfs-cat", "nfs-ls", "nfs-cp")
def test_ganesha_serves_a_mount(emulator: EmulatorProcess, mount: NewMount, folder: Path) -> None:
    place_objects(emulator)
    with mount(*SOON) as mounted, ganesha(mounted, folder) as address:

        def cat(path: str) -> bytes:
            done = mounted.run_beside("nfs-cat", address.format(path))
            return done.stdout or done.stderr

        def names(path: str) -> list[bytes]:
            done = mounted.run_beside("nfs-ls", address.format(path))
            return sorted(line.split()[-1] for line in done.stdout.splitlines())

        assert cat("first") == b"first\n"
        assert cat("folder/large") == LARGE
        assert names("") == [b"first", b"folder", b"many"]
        assert names("many") == [b"%03d" % number for number in range(300)]
        refused = mounted.run_beside("nfs-cp", "/etc/hostname", address.format("new"))
        assert b"NFS4ERR_ROFS" in refused.stderr
        assert "busy" in mounted.unmount().stderr

        emulator.place("first", b"changed\n")
        emulator.place("new", b"new\n")
        (emulator.bucket / "folder" / "large").unlink()
        emulator.place("folder/other", LARGE)
        time.sleep(TTL_SECONDS + 0.2)
        assert cat("first") == b"changed\n"
        assert cat("new") == b"new\n"
        assert names("") == [b"first", b"folder", b"many", b"new"]
        assert names("folder") == [b"other"]
        assert b"NFS4ERR_NOENT" in cat("folder/large")

        assert cat("folder/other") == LARGE
        mounted.drop_inodes()
        for _ in range(2):
            assert cat("folder/other") == LARGE
            assert names("folder") == [b"other"]
