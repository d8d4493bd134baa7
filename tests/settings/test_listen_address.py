"""Tests of the address of the metrics."""

from __future__ import annotations

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.listen_address import ListenAddress, parse_listen_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9105", "127.0.0.1", 9105),
        ("[::1]:0", "::1", 0),
        ("localhost:65535", "localhost", 65535),
    ],
)
def test_an_address_is_parsed_and_shown(text: str, host: str, port: int) -> None:
    address = parse_listen_address(text)
    assert address == ListenAddress(host, port)
    assert str(address) == text


def test_no_text_is_no_address() -> None:
    assert parse_listen_address("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (":9105", "names no address: write 127.0.0.1:9105 for this machine only, or 0.0.0.0:9105"),
        ("9105", "is not an address"),
        ("::1:9105", "is not an address"),
        ("http://a:1", "is not an address"),
        ("a:65536", "a port from 0 to 65535"),
        ("[1:2]:9105", "is not an IPv6 address"),
    ],
)
def test_another_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_listen_address(text)
