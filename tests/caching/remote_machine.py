"""A machine whose service can be away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import StatusCode, Unavailable
from tests.namespace.fake_store import FakeStore

from .name_world import Machine

if TYPE_CHECKING:
    from gcsmux_fs.model.errors import StorageError


class RemoteStore(FakeStore):
    """A store that can be away: a request gets no answer for `call_seconds`, then fails."""

    call_seconds = 100.0
    is_away = False
    signs = 0
    error: StorageError | None = None

    async def _answer(self, request: str) -> None:
        await super()._answer(request)
        if self.is_away:
            await trio.sleep(self.call_seconds)
            raise Unavailable("no connection", code=StatusCode.UNAVAILABLE)
        self.signs += 1
        if self.error is not None:
            raise self.error


@dataclass
class RemoteMachine(Machine):
    """A machine whose store can be away."""

    store: RemoteStore

    def signs(self) -> int:
        """Return the number of answers that the service has sent."""
        return self.store.signs
