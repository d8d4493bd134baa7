"""Detects another mount of this machine that receives from the same subscription.

Each message reaches only one of the mounts, so both would show old names for ever. The first mount
listens on an abstract Unix socket that is named after the subscription, and each further mount
connects to it, so both know. The kernel frees the name when the process ends. A mount of another
machine, or in another network namespace (a container), is not seen.

Another user of the machine can take or call the name. Then the names of the mount have their TTL.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from typing import TYPE_CHECKING, NoReturn

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FREE_SECONDS", "SubscriptionClaim"]

log = logging.getLogger(__name__)

FREE_SECONDS = 60.0
"""How long a subscription counts as shared after the other mount has ended. Mounts that come and go
then cause at most one gap per minute."""

_BACKLOG = 16


class SubscriptionClaim:
    """Claims a subscription for one mount.

    Args:
        subscription: the full name of the subscription.
        endpoint: the address of Pub/Sub.
        on_shared: called with True when another mount has the subscription, too, and with False
            when none has it any longer.
    """

    def __init__(self, subscription: str, endpoint: str, on_shared: Callable[[bool], None]) -> None:
        digest = hashlib.sha256(f"{endpoint} {subscription}".encode()).hexdigest()
        self._address = f"\0gcsmux-changes-{digest[:32]}"
        self._on_shared = on_shared

    async def run(self) -> NoReturn:
        """Claim the subscription until cancelled. No failure ends the call."""
        while True:
            try:
                await self._claim()
            except OSError as error:
                log.debug("the subscription cannot be claimed: %s", error)
                await trio.sleep(FREE_SECONDS)

    async def _claim(self) -> None:
        with trio.socket.socket(trio.socket.AF_UNIX) as own:
            try:
                await own.bind(self._address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                await own.connect(self._address)
                await self._share(own)
                return
            own.listen(_BACKLOG)
            while True:
                other, _ = await own.accept()
                with other:
                    await self._share(other)

    async def _share(self, other: trio.socket.SocketType) -> None:
        """Report that the subscription is shared until the other mount closes the connection."""
        self._on_shared(True)
        try:
            await other.recv(1)
        except OSError as error:
            log.debug("the other mount of the subscription: %s", error)
        other.close()
        await trio.sleep(FREE_SECONDS)
        self._on_shared(False)
