"""Tests of the detection of DirectPath. No test can reach a DirectPath server."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.storage import direct_path
from gcsmux_fs.storage.direct_path import (
    ConnectedPaths,
    connected_paths,
    direct_path_target,
    is_direct,
    is_google_machine,
    report_path,
)

if TYPE_CHECKING:
    from pathlib import Path

HEADER = (
    "  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode"
)
LINE = "  0: 0100007F:1F90 {address}:01BB {state} 00000000:00000000 00:0 00000000 0 0 {inode} 1"


@pytest.mark.parametrize(
    ("address", "direct"),
    [
        ("34.126.0.1", True),
        ("34.126.63.255", True),
        ("34.126.64.0", False),
        ("::ffff:34.126.1.1", True),
        ("2001:4860:8040::1", True),
        ("2001:4860:807f::1", True),
        ("2001:4860:8080::1", False),
        ("142.250.1.1", False),
    ],
)
def test_the_networks_of_directpath_are_known(address: str, direct: bool) -> None:
    assert is_direct(ipaddress.ip_address(address)) == direct


def test_the_target_has_the_scheme_of_directpath() -> None:
    assert (
        direct_path_target("storage.googleapis.com:443") == "google-c2p:///storage.googleapis.com"
    )
    assert direct_path_target("host:9000") == "google-c2p:///host:9000"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Google Compute Engine\n", True), ("Google\n", True), ("KVM\n", False), (None, False)],
)
def test_the_firmware_shows_whether_the_machine_belongs_to_google(
    tmp_path: Path, name: str | None, expected: bool
) -> None:
    product_name = tmp_path / "product_name"
    if name is not None:
        product_name.write_text(name)
    assert is_google_machine(product_name) is expected


def test_only_established_connections_of_the_process_count(tmp_path: Path) -> None:
    """The tables hold the connections of all processes in the network namespace."""
    (tmp_path / "fd").mkdir()
    (tmp_path / "net").mkdir()
    for number, target in enumerate(("socket:[11]", "socket:[12]", "socket:[13]", "/dev/null")):
        (tmp_path / "fd" / str(number)).symlink_to(target)
    tables = {
        "tcp": [("01017E22", "01", 11), ("02017E22", "06", 12), ("03017E22", "01", 99)],
        "tcp6": [("00680424000000000000000001000000", "01", 13)],
    }
    for name, rows in tables.items():
        lines = [LINE.format(address=a, state=state, inode=inode) for a, state, inode in rows]
        (tmp_path / "net" / name).write_text("\n".join([HEADER, *lines]) + "\n")
    assert [str(address) for address in connected_paths(tmp_path).direct] == ["34.126.1.1"]
    assert [str(address) for address in connected_paths(tmp_path).other] == ["2404:6800::1"]


def test_the_connections_of_this_process_are_found() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        assert ipaddress.ip_address("127.0.0.1") in connected_paths().other


def test_require_fails_without_directpath(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    normal, direct = ipaddress.ip_address("142.250.1.1"), ipaddress.ip_address("34.126.1.1")
    paths = ConnectedPaths((), (normal,))
    monkeypatch.setattr(direct_path, "connected_paths", lambda: paths)
    with pytest.raises(ConfigError, match=r"not available: the servers are 142.250.1.1"):
        report_path("require")
    report_path("off")
    assert caplog.messages == []
    report_path("try")
    assert "DirectPath is not available: the servers are 142.250.1.1" in caplog.text
    paths = ConnectedPaths((direct,), (normal,))
    report_path("require")
    assert caplog.messages[-1] == "DirectPath is in use (server 34.126.1.1)"
