"""The access tokens that the emulator accepts: the lines of a file, which tests may change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    import grpc.aio

__all__ = ["AccessTokens"]

_SCHEME = "Bearer "


class AccessTokens:
    """Checks the `authorization` header of each call, and counts the calls of each token.

    Args:
        path: a file with one accepted token per line. It is read for each call, so a change of the
            file has an effect at once. None accepts every call, also without a token.
        counts: number of calls, by token; a call without a token counts for the empty text.
    """

    def __init__(self, path: Path | None, counts: Counter[str]) -> None:
        self._path = path
        self._counts = counts

    def check(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        """Count a call.

        Raises:
            RpcError: the token of the call is not accepted (UNAUTHENTICATED).
        """
        if self._path is not None:
            headers = dict(context.invocation_metadata() or ())
            self.check_header(str(headers.get("authorization", "")))

    def check_header(self, authorization: str) -> None:
        """Count a call with this `authorization` header; "" if the call has none.

        Raises:
            RpcError: the token of the call is not accepted (UNAUTHENTICATED).
        """
        if self._path is None:
            return
        token = authorization.removeprefix(_SCHEME)
        self._counts[token] += 1
        try:
            accepted = self._path.read_text().split()
        except FileNotFoundError:
            accepted = []
        if token not in accepted:
            raise RpcError(
                StatusCode.UNAUTHENTICATED, "Request had invalid authentication credentials."
            )
