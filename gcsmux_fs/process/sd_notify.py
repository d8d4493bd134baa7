"""The notification protocol of systemd, sd_notify(3), implemented without libsystemd."""

from __future__ import annotations

import os
import socket

__all__ = ["notify"]


def notify(*assignments: str, address: str | None = None) -> bool:
    """Send assignments such as `READY=1` to the service manager in one datagram.

    `address` is the socket of the manager, by default the value of NOTIFY_SOCKET. Returns False if
    there is no address, or if no process listens at the address. The caller can ignore the result.
    """
    target = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
    if not target.startswith(("/", "@")):
        return False
    # A leading @ stands for the NUL byte that begins an abstract socket name on Linux.
    path = "\0" + target[1:] if target.startswith("@") else target
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(path)
            sender.sendall("\n".join(assignments).encode())
    except OSError:
        return False
    return True
