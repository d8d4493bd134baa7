"""Tests of the sentences that a user sees when a mount cannot be asked."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.control import client as client_module
from gcsmux_fs.control.client import ControlError, NoAnswer, control_client
from tests.control.served import MOUNT, NAME, serving

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.control.control_server import Exchange
    from gcsmux_fs.control.protocol import Json


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "places_of", lambda *_: [tmp_path / "absent", tmp_path])


def status(_: Json, __: Exchange) -> Json:
    return {"version": "1"}


def test_a_mount_is_found_in_the_first_place_that_has_its_socket(tmp_path: Path) -> None:
    with serving(tmp_path, {"status": status}), control_client(MOUNT) as client:
        assert (client.process, client.user) == (os.getpid(), os.geteuid())
        assert client.ask("status") == {"version": "1"}


def test_a_mount_without_a_socket_is_named() -> None:
    with pytest.raises(ControlError, match="/mnt/data has no control socket here"):
        control_client(MOUNT)


def test_a_mount_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(ControlError, match="belongs to the user 4242"):
        control_client(replace(MOUNT, owner=4242))


def test_a_mount_whose_process_has_ended_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / NAME))
    with pytest.raises(NoAnswer, match="has ended: unmount it by"):
        control_client(MOUNT)


def test_a_mount_whose_queue_of_clients_is_full_is_named(tmp_path: Path) -> None:
    """A stopped process accepts no client."""
    with socket.socket(socket.AF_UNIX) as stopped, contextlib.ExitStack() as clients:
        stopped.bind(str(tmp_path / NAME))
        stopped.listen(0)
        clients.enter_context(control_client(MOUNT))
        with pytest.raises(NoAnswer, match="accepts no control connection: if it is stopped"):
            clients.enter_context(control_client(MOUNT))


def test_a_mount_that_is_silent_is_named_after_the_timeout(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / NAME))
        silent.listen()
        with (
            control_client(MOUNT, seconds=0.05) as client,
            pytest.raises(NoAnswer, match=rf"process {os.getpid()} of /mnt/data did not answer"),
        ):
            client.ask("status")


def test_a_mount_that_hangs_up_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / NAME))
        listener.listen()
        with control_client(MOUNT) as client:
            listener.accept()[0].close()
            with pytest.raises(ControlError, match=r"closed the control connection|failed"):
                client.ask("status")


def test_a_socket_of_another_user_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "peer_of", lambda connection: (1, 4242))
    with (
        serving(tmp_path, {"status": status}),
        pytest.raises(ControlError, match="no control socket here"),
    ):
        control_client(MOUNT)
