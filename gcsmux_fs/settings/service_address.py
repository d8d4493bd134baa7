"""The address of the service: endpoint, transport security and use of credentials."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import DEFAULT_ENDPOINT

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "EMULATOR_VARIABLE",
    "ServiceAddress",
    "is_loopback",
    "parse_endpoint",
    "resolve_service_address",
    "service_of",
]

EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST_GRPC"
"""The environment variable with the address of an emulator. Google's SDKs read it too."""

_ENDPOINT = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+):(?P<port>[0-9]{1,10})")


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """The endpoint HOST:PORT, and whether to connect without TLS and without credentials."""

    endpoint: str = DEFAULT_ENDPOINT
    plaintext: bool = False
    anonymous: bool = False


def parse_endpoint(text: str) -> str:
    """Return `text` as HOST:PORT, with the host of an IPv6 address in brackets.

    Raises:
        ConfigError: the text is not an endpoint.
    """
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is not an endpoint: write HOST:PORT, such as localhost:9000.")
    if not 1 <= int(match["port"]) <= 65535:
        raise ConfigError(f"{text!r} has port {match['port']}: write a port from 1 to 65535.")
    host = match["host"]
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise ConfigError(
                f"{host} in {text!r} is not an IPv6 address: write an endpoint such as [::1]:9000."
            ) from None
    return f"{host}:{int(match['port'])}"


def service_of(endpoint: str) -> str:
    """Return the service behind an endpoint: "" for all endpoints of Google, else the endpoint.

    Two services can have buckets and objects of the same names.
    """
    host = endpoint.rpartition(":")[0].lower()
    return "" if host.endswith(".googleapis.com") else endpoint


def is_loopback(endpoint: str) -> bool:
    """Return whether data sent to `endpoint` stays on this machine."""
    host = endpoint.rpartition(":")[0].strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def resolve_service_address(
    endpoint: str | None,
    *,
    plaintext: bool,
    anonymous: bool,
    given: Sequence[str] = (),
    emulator: str,
) -> ServiceAddress:
    """Return the address that the command line and STORAGE_EMULATOR_HOST_GRPC give.

    `emulator` is the value of STORAGE_EMULATOR_HOST_GRPC, or "". An emulator implies plaintext and
    anonymous access. An endpoint on the command line overrides the emulator. `given` has the
    options with which the user chose credentials. If there are any, an emulator does not imply
    anonymous access, so that the credentials are refused instead of ignored.

    Raises:
        ConfigError: the options contradict each other, or would send credentials in plaintext.
    """
    if anonymous and given:
        raise ConfigError(f"--anonymous and {given[0]} exclude each other: leave one of them out.")
    if endpoint is None and emulator:
        emulator_endpoint = _emulator_endpoint(emulator, plaintext=plaintext)
        address = ServiceAddress(emulator_endpoint, plaintext=True, anonymous=not given)
    else:
        address = ServiceAddress(
            DEFAULT_ENDPOINT if endpoint is None else parse_endpoint(endpoint),
            plaintext=plaintext,
            anonymous=anonymous,
        )
    if address.plaintext and not address.anonymous:
        option = given[0] if given else "--plaintext"
        raise ConfigError(
            f"credentials are never sent in plaintext: add --anonymous, or leave {option} out."
        )
    return address


def _emulator_endpoint(text: str, *, plaintext: bool) -> str:
    """Return the endpoint in `text`; without `plaintext` the endpoint must be on this machine."""
    try:
        endpoint = parse_endpoint(text.removeprefix("http://").removesuffix("/"))
    except ConfigError as error:
        raise ConfigError(f"{EMULATOR_VARIABLE}: {error}") from None
    if not plaintext and not is_loopback(endpoint):
        raise ConfigError(
            f"{EMULATOR_VARIABLE} names {endpoint}, which is on another machine: add --plaintext to"
            " send the data unencrypted over the network."
        )
    return endpoint
