"""Tests of where control sockets are made, and of what is done with sockets of other processes."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.control.socket_places import (
    BoundSocket,
    connected,
    open_directory,
    places_of,
    runtime_directory,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "0-57.sock"


@pytest.mark.parametrize(
    ("environment", "user", "directory"),
    [
        ({"RUNTIME_DIRECTORY": "/run/gcsmux/data"}, 0, "/run/gcsmux/data"),
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/5"}, 5, "/run/a"),
        ({"RUNTIME_DIRECTORY": "relative"}, 0, "/run/gcsmux"),
        ({"XDG_RUNTIME_DIR": "/run/user/1000"}, 0, "/run/gcsmux"),
        ({"XDG_RUNTIME_DIR": "/run/user/1000"}, 1000, "/run/user/1000/gcsmux"),
        ({"XDG_RUNTIME_DIR": "relative"}, 1000, "/tmp/gcsmux-1000"),
        ({}, 1000, "/tmp/gcsmux-1000"),
    ],
)
def test_the_directory_depends_on_the_user(
    environment: Mapping[str, str], user: int, directory: str
) -> None:
    assert runtime_directory(environment, user) == Path(directory)
    assert Path(directory) in places_of(environment, user)


def test_root_finds_the_sockets_of_users() -> None:
    places = places_of({}, 1000)
    assert {Path("/run/gcsmux"), Path("/run/user/1000/gcsmux"), Path("/tmp/gcsmux-1000")} <= set(
        places
    )


def ask(directory: Path) -> socket.socket:
    with open_directory(directory, {os.geteuid()}) as opened:
        return connected(opened, NAME, 1)


def test_a_socket_is_private_and_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "made"
    bound = BoundSocket(directory, NAME)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(bound.path.lstat().st_mode) == 0o600
    with ask(directory):
        pass
    bound.close()
    assert list(directory.iterdir()) == []


def test_a_directory_with_a_long_name_works(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 200)
    bound = BoundSocket(directory, NAME)
    ask(directory).close()
    bound.close()


def test_sockets_of_killed_processes_are_removed_and_others_stay(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as alive:
        dead.bind(str(tmp_path / "0-1.sock"))
        alive.bind(str(tmp_path / "0-2.sock"))
        alive.listen()
        dead.close()
        (tmp_path / "0-3.sock").write_text("not a socket")
        bound = BoundSocket(tmp_path, NAME, kept={"0-1.sock"})
        assert (tmp_path / "0-1.sock").exists()
        bound.close()
        bound = BoundSocket(tmp_path, NAME)
        assert {path.name for path in tmp_path.iterdir()} == {NAME, "0-2.sock", "0-3.sock"}
        bound.close()


def test_the_directory_is_locked_against_the_cleaning_of_old_files(tmp_path: Path) -> None:
    first, second = BoundSocket(tmp_path, NAME), BoundSocket(tmp_path, "0-58.sock")
    first.close()
    with open_directory(tmp_path, {os.geteuid()}) as directory:
        # systemd-tmpfiles cleans a directory only with this lock.
        with pytest.raises(BlockingIOError):
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        second.close()
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_socket_that_another_mount_is_making_stays(tmp_path: Path) -> None:
    unfinished, old = (tmp_path / f".{number}-0-1.sock" for number in (1, 2))
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(unfinished))
        second.bind(str(old))
        os.utime(old, (0, 0))
        bound = BoundSocket(tmp_path, NAME)
        assert unfinished.exists()
        assert not old.exists()
        bound.close()


def test_a_later_mount_with_the_same_device_number_replaces_the_socket(tmp_path: Path) -> None:
    earlier, present = BoundSocket(tmp_path, NAME), BoundSocket(tmp_path, NAME)
    # The earlier process ends late, and must not remove the socket of its successor.
    earlier.close()
    with ask(tmp_path):
        accepted, _ = present.listener.accept()
        accepted.close()
    present.close()


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(PermissionError, match="other users may write"):
        BoundSocket(shared, NAME)


def test_a_link_that_another_user_planted_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    planted = tmp_path / "gcsmux-1000"
    planted.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        BoundSocket(planted, NAME)
    assert list((tmp_path / "target").iterdir()) == []


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="another user"), open_directory(tmp_path, {4242}):
        pass


def test_a_client_does_not_follow_a_link_in_place_of_the_socket(tmp_path: Path) -> None:
    bound = BoundSocket(tmp_path / "real", "other.sock")
    (tmp_path / NAME).symlink_to(bound.path)
    with pytest.raises(OSError, match=r"not a socket|non-socket"):
        ask(tmp_path)
    bound.close()
