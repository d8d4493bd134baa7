"""The notification protocol of systemd, sd_notify(3), implemented without libsystemd."""

from __future__ import annotations

import os
import socket

__all__ = ["notify"]

_WAIT_SECONDS = 1.0


def notify(
    *assignments: str, address: str | None = None, wait_seconds: float = _WAIT_SECONDS
) -> bool:
    """Send assignments such as `READY=1` to the service manager in one datagram.

    `address` is the socket of the manager, by default the value of NOTIFY_SOCKET. If the manager
    hangs, its socket fills up, and a send without a time limit would block the thread that serves
    the kernel. So this function waits for at most `wait_seconds`.

    Returns False if there is no address, or if the manager does not take the datagram. The caller
    can ignore the result.
    """
    target = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
    if not target.startswith(("/", "@")):
        return False
    # A leading @ stands for the NUL byte that begins an abstract socket name on Linux.
    path = "\0" + target[1:] if target.startswith("@") else target
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(wait_seconds)
            sender.connect(path)
            sender.sendall("\n".join(assignments).encode())
    except OSError:
        return False
    return True
