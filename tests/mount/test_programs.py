"""Ordinary programs give the same results on a mount as on a local disk."""

from __future__ import annotations

import base64
import fcntl
import os
import random
import shutil
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import crc32c
import pytest

from tests.support import programs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

LONG_AGO_NS = 1_234_567_890_123_456_000


def make_project(folder: Path) -> None:
    """Write a folder of text files with old modification times."""
    source = random.Random(3)
    for number in range(40):
        path = folder / f"part {number % 5}" / f"notes-{number}.txt"
        path.parent.mkdir(exist_ok=True)
        words = " ".join(source.choices(["red", "green", "blue"], k=20_000))
        path.write_text(f"{words}\n{'needle' if number % 10 == 0 else 'straw'}\n")
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS + number * 10**9))


def lines(output: bytes) -> list[bytes]:
    return sorted(output.splitlines())


def test_find_grep_du_wc_md5sum_and_ls(emulator: EmulatorProcess, mount: NewMount) -> None:
    make_project(emulator.bucket)
    with mount() as mounted:
        for command in (
            ["find", ".", "-type", "f", "-printf", "%p %s %T@ %y\\n"],
            ["find", ".", "-type", "d"],
            ["find", ".", "-name", "*-1?.txt", "-size", "+100k"],
            ["grep", "-rl", "needle"],
            ["grep", "-rc", "straw"],
            ["du", "-ab", "--apparent-size", "part 1/notes-1.txt"],
            ["wc", "-c", "part 2/notes-2.txt"],
            ["md5sum", "part 3/notes-3.txt", "part 4/notes-4.txt"],
            ["ls", "-R"],
        ):
            expected = subprocess.run(
                command, cwd=emulator.bucket, capture_output=True, check=False
            )
            result = mounted.run(*command)
            assert (lines(expected.stdout), expected.returncode) == (
                lines(result.stdout),
                result.returncode,
            )
            assert result.stderr == expected.stderr


def test_ls_du_and_df_show_sizes_and_times(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("folder/object", bytes(10_000))
    os.utime(emulator.bucket / "folder" / "object", ns=(LONG_AGO_NS, LONG_AGO_NS))
    with mount() as mounted:
        long = mounted.run("env", "TZ=UTC", "ls", "-la", "--full-time", "folder").stdout.decode()
        assert "10000 2009-02-13 23:31:30.123456" in long
        assert long.splitlines()[1].endswith(" .")
        assert long.splitlines()[2].endswith(" ..")
        assert mounted.run("du", "-sk", "folder").stdout.split()[0] == b"10"
        assert mounted.run("df", ".").returncode == 0
        assert b"my-bucket" in mounted.run("df", "--output=source", ".").stdout
        assert mounted.run("stat", "-f", "-c", "%l", ".").stdout == b"255\n"


@pytest.mark.parametrize(
    "command",
    [
        ["cp", "-a", ".", "{target}"],
        ["rsync", "-a", "--checksum", "./", "{target}/"],
        ["sh", "-c", 'tar -cf - . | tar -xf - -C "{target}"'],
    ],
    ids=["cp -a", "rsync", "tar"],
)
def test_copies_have_the_same_bytes_and_times(
    emulator: EmulatorProcess, mount: NewMount, folder: Path, command: list[str]
) -> None:
    make_project(emulator.bucket)
    target = folder / "copy"
    target.mkdir()
    with mount() as mounted:
        result = mounted.run(*(part.replace("{target}", str(target)) for part in command))
        assert (result.returncode, result.stderr) == (0, b"")
        expected = programs.tree(str(emulator.bucket))
        copy = programs.tree(str(target))
        if command[0] == "sh":
            # Do not compare times here, because tar stores whole seconds only.
            assert {path: (one.digest, one.size) for path, one in expected.items()} == {
                path: (one.digest, one.size) for path, one in copy.items()
            }
        else:
            assert expected == copy
    shutil.rmtree(target)


def test_mapped_files(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("object", programs.tagged(5, 0, 3_000_000))
    with mount() as mounted, mounted.program() as one, mounted.program() as other:
        path = f"{mounted.path}/object"
        for offset in (0, 2_998_272, 1_499_136, 4096):
            assert one.call(programs.mapped_tags, path, offset, 500_000) == {5}
            assert other.call(programs.mapped_tags, path, offset, 500_000) == {5}


@pytest.mark.parametrize("parameters", ["mode=ro", "immutable=1", "mode=ro&immutable=1"])
def test_sqlite_read_only(emulator: EmulatorProcess, mount: NewMount, parameters: str) -> None:
    with closing(sqlite3.connect(emulator.bucket / "data.db")) as database:
        database.execute("create table numbers (number integer primary key, text text)")
        rows = ((number, f"row {number} " * 10) for number in range(20_000))
        database.executemany("insert into numbers values (?, ?)", rows)
        database.execute("create index by_text on numbers (text)")
        database.commit()
    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/data.db"
        query = "select count(*), sum(number) from numbers where text like 'row 1%'"
        assert program.call(programs.select_read_only, path, parameters, query) == [
            (11_111, sum(n for n in range(20_000) if str(n).startswith("1")))
        ]
        check = "pragma integrity_check"
        assert program.call(programs.select_read_only, path, parameters, check) == [("ok",)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            program.call(programs.select_read_only, path, parameters, "delete from numbers")


def test_sqlite_in_wal_mode_needs_immutable(emulator: EmulatorProcess, mount: NewMount) -> None:
    with closing(sqlite3.connect(emulator.bucket / "data.db")) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table numbers as select 42 as number")
        database.commit()
    with mount() as mounted, mounted.program() as program:
        path, query = f"{mounted.path}/data.db", "select number from numbers"
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            program.call(programs.select_read_only, path, "mode=ro", query)
        rows = program.call(programs.select_read_only, path, "immutable=1", query)
        assert rows == [(42,)]


def test_locks_work_between_programs(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("object", b"content")
    with mount() as mounted, mounted.program() as one, mounted.program() as other:
        descriptor = one.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
        other_descriptor = other.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
        one.call(fcntl.flock, descriptor, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            other.call(fcntl.flock, other_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        one.call(fcntl.flock, descriptor, fcntl.LOCK_UN)
        other.call(fcntl.flock, other_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_python_runs_from_a_mount(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("package/__init__.py", b"from package.inner import answer\n")
    emulator.place("package/inner.py", b"answer = 6 * 7\n")
    with mount() as mounted:
        result = mounted.run("python3", "-c", "import package; print(package.answer)")
        assert (result.stdout, result.stderr) == (b"42\n", b"")


def test_extended_attributes(emulator: EmulatorProcess, mount: NewMount) -> None:
    generation = emulator.write(
        "object", b"content", content_type="text/x-test", metadata={"owner": "Zoë", "n": "1"}
    )
    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/object"
        names = program.call(os.listxattr, path)
        attributes = {name: program.call(os.getxattr, path, name).decode() for name in names}
        assert (
            attributes.items()
            >= {
                "user.gcs.generation": str(generation),
                "user.gcs.metageneration": "1",
                "user.gcs.content-type": "text/x-test",
                "user.gcs.storage-class": "STANDARD",
                "user.gcs.crc32c": base64.b64encode(
                    crc32c.crc32c(b"content").to_bytes(4, "big")
                ).decode(),
                "user.gcs.metadata.owner": "Zoë",
                "user.gcs.metadata.n": "1",
            }.items()
        )
        assert program.call(os.listxattr, str(mounted.path)) == []
