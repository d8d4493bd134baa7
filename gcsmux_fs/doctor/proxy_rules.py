"""Finds the HTTP proxy that gRPC uses; sans-IO.

The rules are those of gRPC (src/core/handshaker/http_connect/http_proxy_mapper.cc), checked with
grpcio 1.85: gRPC reads only variables in lower case, and only proxies whose address begins with
http://. google-auth, which fetches tokens, also reads variables in upper case. So a variable in
upper case alone gives two ways out of this machine, of which one may be blocked.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gcsmux_fs.doctor.checklist import Finding, healthy, warning

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HttpProxy", "proxy_finding", "proxy_for"]

_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
_DEFAULT_PORT = 80


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """A proxy: where it is, the variable that names it, and `user:password` or an empty text."""

    host: str
    port: int
    variable: str
    user_info: str = ""


def proxy_for(host: str, environment: Mapping[str, str], *, plaintext: bool) -> HttpProxy | None:
    """Return the proxy through which gRPC connects to `host`; None for a direct connection.

    The mount uses no proxy for a plaintext connection, because it leads to an emulator.
    """
    variable = _first_set(_VARIABLES, environment)
    if plaintext or variable is None:
        return None
    proxy = _parsed(variable, environment[variable])
    exceptions = _first_set(_EXCEPTIONS, environment)
    if exceptions is not None and _is_listed(host, environment[exceptions]):
        return None
    return proxy


def proxy_finding(host: str, environment: Mapping[str, str], *, plaintext: bool) -> Finding:
    """Report the proxy, and variables that do not have the effect that the user expects."""
    if plaintext:
        return healthy("no proxy is used for a plaintext connection")
    proxy = proxy_for(host, environment, plaintext=False)
    if proxy is not None:
        return healthy(f"connects through {proxy.host}:{proxy.port}, which {proxy.variable} names")
    variable = _first_set(_VARIABLES, environment)
    if variable is None:
        upper = next(
            (name.upper() for name in _VARIABLES if environment.get(name.upper(), "")), None
        )
        if upper is None:
            return healthy("no proxy variable is set")
        return warning(
            f"gRPC ignores {upper}, because gRPC reads only variables in lower case",
            f"if the network requires the proxy, set {upper.lower()} too",
        )
    if _parsed(variable, environment[variable]) is None:
        return warning(
            f"gRPC ignores {variable}, because its value does not begin with http://",
            f"write {variable}=http://HOST:PORT, or unset {variable}",
        )
    return healthy(f"connects directly, because {' or '.join(_EXCEPTIONS)} lists {host}")


def _first_set(names: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    return next((name for name in names if environment.get(name)), None)


def _parsed(variable: str, text: str) -> HttpProxy | None:
    try:
        address = urlsplit(text)
        port = address.port or _DEFAULT_PORT
    except ValueError:
        return None
    if address.scheme != "http" or not address.hostname:
        return None
    user_info, at, _ = address.netloc.rpartition("@")
    return HttpProxy(address.hostname, port, variable, unquote(user_info) if at else "")


def _is_listed(host: str, exceptions: str) -> bool:
    """Return whether a list such as `localhost,.internal,10.0.0.0/8` contains `host`."""
    host = host.lower()
    for entry in exceptions.lower().split(","):
        name = entry.strip().removeprefix(".")
        if name and (host == name or host.endswith(f".{name}") or _in_network(host, name)):
            return True
    return False


def _in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
