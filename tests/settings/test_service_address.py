"""Tests of the service address that options and environment give; credentials require TLS."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import DEFAULT_ENDPOINT
from gcsmux_fs.settings.service_address import (
    ServiceAddress,
    parse_endpoint,
    resolve_service_address,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:9000", "localhost:9000"),
        ("storage.googleapis.com:443", "storage.googleapis.com:443"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("[::1]:65535", "[::1]:65535"),
        ("host:0080", "host:80"),
    ],
)
def test_an_endpoint_is_host_and_port(text: str, expected: str) -> None:
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("localhost", "write HOST:PORT"),
        ("https://localhost:1", "write HOST:PORT"),
        ("::1:9000", "write HOST:PORT"),
        ("host:port", "write HOST:PORT"),
        (":9000", "write HOST:PORT"),
        ("", "write HOST:PORT"),
        ("host:0", "write a port from 1 to 65535"),
        ("host:65536", "write a port from 1 to 65535"),
        ("[::g]:1", "write HOST:PORT"),
        ("[1.2.3.4]:1", "is not an IPv6 address"),
    ],
)
def test_an_invalid_endpoint_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_endpoint(text)


def resolve(
    endpoint: str | None = None,
    *,
    plaintext: bool = False,
    anonymous: bool = False,
    given: tuple[str, ...] = (),
    emulator: str = "",
) -> ServiceAddress:
    return resolve_service_address(
        endpoint,
        plaintext=plaintext,
        anonymous=anonymous,
        given=given,
        emulator=emulator,
    )


def test_the_default_is_the_public_endpoint_with_tls_and_credentials() -> None:
    assert resolve() == ServiceAddress(DEFAULT_ENDPOINT, plaintext=False, anonymous=False)


@pytest.mark.parametrize(
    "variable",
    ["localhost:9000", "http://localhost:9000", "http://localhost:9000/", "LOCALHOST:9000"],
)
def test_the_emulator_variable_implies_all_three_options(variable: str) -> None:
    address = resolve(emulator=variable)
    assert replace(address, endpoint=address.endpoint.lower()) == ServiceAddress(
        "localhost:9000", plaintext=True, anonymous=True
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "[::1]", "localhost"])
def test_the_emulator_variable_may_name_any_loopback_address(host: str) -> None:
    assert resolve(emulator=f"{host}:1").plaintext


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "[2001:db8::1]", "localhost.example.com"])
def test_plaintext_to_another_machine_requires_the_option(host: str) -> None:
    with pytest.raises(ConfigError, match="is on another machine: add --plaintext"):
        resolve(emulator=f"{host}:9000")
    assert resolve(emulator=f"{host}:9000", plaintext=True).anonymous


def test_an_endpoint_on_the_command_line_overrides_the_emulator_variable() -> None:
    address = resolve("other:443", emulator="localhost:9000")
    assert address == ServiceAddress("other:443", plaintext=False, anonymous=False)


def test_an_error_in_the_emulator_variable_names_the_variable() -> None:
    with pytest.raises(ConfigError, match="STORAGE_EMULATOR_HOST_GRPC: 'localhost' is not"):
        resolve(emulator="localhost")


def test_credentials_are_never_sent_in_plaintext() -> None:
    with pytest.raises(ConfigError, match="add --anonymous, or leave --plaintext out"):
        resolve("localhost:9000", plaintext=True)
    with pytest.raises(ConfigError, match="add --anonymous, or leave --key-file out"):
        resolve(emulator="localhost:9000", given=("--key-file",))


def test_anonymous_access_excludes_a_key_file() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        resolve(anonymous=True, given=("--key-file",))
