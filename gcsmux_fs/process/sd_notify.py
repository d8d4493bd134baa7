"""The service manager's notification protocol, sd_notify(3), without a dependency."""

from __future__ import annotations

import os
import socket

__all__ = ["notify"]


def notify(*assignments: str, address: str | None = None) -> bool:
    """Send assignments such as `READY=1` to the service manager in one datagram.

    Returns False where there is no manager to tell: NOTIFY_SOCKET is unset, or nobody listens
    there any more. A mount goes on in either case.
    """
    target = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
    if not target.startswith(("/", "@")):
        return False
    # A leading @ stands for the NUL byte that marks Linux's abstract names.
    path = "\0" + target[1:] if target.startswith("@") else target
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(path)
            sender.sendall("\n".join(assignments).encode())
    except OSError:
        return False
    return True
