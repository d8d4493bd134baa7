"""DirectPath: connections from Compute Engine to Cloud Storage that bypass Google's front ends.

gRPC connects by DirectPath if the target has the scheme `google-c2p` and the channel has the
credentials of Compute Engine. gRPC then asks Google's xDS server for the addresses. On other
machines gRPC would resolve the name by DNS, but processes that ended then have crashed inside gRPC
(grpcio 1.85). So this target is used only on a machine of Google.

gRPC does not report which way a call takes. The address of the server shows it: DirectPath servers
have addresses in the two networks that Google documents for the firewall rules of DirectPath
(https://cloud.google.com/storage/docs/direct-connectivity). So this module reads the TCP
connections of this process from /proc.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ConnectedPaths",
    "connected_paths",
    "direct_path_target",
    "is_direct",
    "is_google_machine",
    "report_path",
]

log = logging.getLogger(__name__)

_NETWORKS = (
    ipaddress.ip_network("34.126.0.0/18"),
    ipaddress.ip_network("2001:4860:8040::/42"),
)
# gRPC and google-auth recognise a machine of Google by the same file.
_PRODUCT_NAME = Path("/sys/class/dmi/id/product_name")
_ESTABLISHED = "01"
_SOCKET = re.compile(r"socket:\[(\d+)\]")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ConnectedPaths:
    """The servers of this process's TCP connections, by the way to them."""

    direct: tuple[Address, ...]
    other: tuple[Address, ...]


def direct_path_target(endpoint: str) -> str:
    """Return the gRPC target that connects to HOST:PORT by DirectPath if it is available.

    The port is left out if it is 443, as in Google's client libraries.
    """
    return f"google-c2p:///{endpoint.removesuffix(':443')}"


def is_google_machine(product_name: Path = _PRODUCT_NAME) -> bool:
    """Return whether the firmware says that this machine belongs to Google Cloud."""
    try:
        return product_name.read_text(errors="replace").strip().startswith("Google")
    except OSError:
        return False


def is_direct(address: Address) -> bool:
    """Return whether the address belongs to a DirectPath server."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _NETWORKS)


def connected_paths(process: Path = Path("/proc/self")) -> ConnectedPaths:
    """Return the servers to which this process has an established TCP connection.

    `process`: the folder of the process in /proc. Files that cannot be read count as empty.
    """
    sockets = set(_sockets(process / "fd"))
    servers: set[Address] = set()
    for name in ("tcp", "tcp6"):
        try:
            table = (process / "net" / name).read_text()
        except OSError:
            continue
        servers.update(_servers(table.splitlines()[1:], sockets))
    ordered = sorted(servers, key=str)
    return ConnectedPaths(
        tuple(server for server in ordered if is_direct(server)),
        tuple(server for server in ordered if not is_direct(server)),
    )


def report_path(mode: str) -> None:
    """Log which way the connections of this process take; `mode`: the value of --direct-path.

    Call this after a call to the service has succeeded, while its connection is open.

    Raises:
        ConfigError: the mode is `require`, and no connection uses DirectPath.
    """
    if mode == "off":
        return
    paths = connected_paths()
    if paths.direct:
        log.info("DirectPath is in use (server %s)", paths.direct[0])
        return
    reason = (
        f"DirectPath is not available: the servers are {', '.join(map(str, paths.other)) or 'gone'}"
    )
    if mode == "require":
        raise ConfigError(
            f"{reason}. Mount on a machine of Compute Engine with a service account, in the region"
            " of the bucket, or write --direct-path=try."
        )
    log.info("%s, behind Google's front ends", reason)


def _sockets(folder: Path) -> Iterable[str]:
    """Yield the inode numbers of the sockets among the open files of a process."""
    try:
        paths = list(folder.iterdir())
    except OSError:
        return
    for path in paths:
        try:
            match = _SOCKET.fullmatch(str(path.readlink()))
        except OSError:
            continue  # closed in the meantime
        if match is not None:
            yield match[1]


def _servers(lines: Iterable[str], sockets: set[str]) -> Iterable[Address]:
    """Yield the remote addresses of established connections in lines of /proc/PID/net/tcp."""
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _ESTABLISHED and fields[9] in sockets:
            yield _address(fields[2].partition(":")[0])


def _address(text: str) -> Address:
    """Return an address from its text in /proc: words of 32 bits in the byte order of the CPU."""
    words = bytes.fromhex(text)
    data = b"".join(words[place : place + 4][::-1] for place in range(0, len(words), 4))
    address = ipaddress.ip_address(data)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
