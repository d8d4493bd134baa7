"""The address on which the mount serves its metrics."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from gcsmux_fs.model.errors import ConfigError

__all__ = ["ListenAddress", "parse_listen_address"]

_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]*):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A host without brackets, and a port; port 0 stands for any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen_address(text: str) -> ListenAddress | None:
    """Return the address in a text such as `127.0.0.1:9105` or `[::1]:9105`; None for no text.

    An address without a host is refused, because the metrics would be visible on all networks of
    the machine without a word in the configuration.

    Raises:
        ConfigError: the text is not an address.
    """
    if not text:
        return None
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{text!r} is not an address: write ADDRESS:PORT, such as 127.0.0.1:9105."
        )
    host, port = match["host"].strip("[]"), int(match["port"])
    if not host:
        raise ConfigError(
            f"{text!r} names no address: write 127.0.0.1:{port} for this machine only, or"
            f" 0.0.0.0:{port} for every network of the machine."
        )
    if port > 65535:
        raise ConfigError(f"{text!r} has port {port}: write a port from 0 to 65535.")
    if match["host"].startswith("["):
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ConfigError(f"[{host}] in {text!r} is not an IPv6 address.") from None
    return ListenAddress(host, port)
