"""Access tokens that the user supplies by a file or a command, as credentials of google-auth.

As credentials of google-auth they can also be the source of an impersonation.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

import google.auth.credentials
import google.auth.transport

from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.storage.token_command import run_token_command
from gcsmux_fs.storage.token_text import (
    MAX_TOKEN_BYTES,
    SuppliedToken,
    TokenTextError,
    parse_token,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["CommandCredentials", "FileCredentials"]


class _SuppliedCredentials(google.auth.credentials.Credentials):  # type: ignore[misc]
    def _set(self, supplied: SuppliedToken) -> None:
        self.token = supplied.token
        end = supplied.expires_at
        # google-auth uses times in UTC without a time zone.
        self.expiry = (
            None if end is None else dt.datetime.fromtimestamp(end, dt.UTC).replace(tzinfo=None)
        )


class FileCredentials(_SuppliedCredentials):
    """The access token in a file; `refresh` reads the file again."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def refresh(self, request: google.auth.transport.Request) -> None:
        """Read the file.

        Raises:
            CredentialsError: the file cannot be read, or holds no token.
        """
        name = f"the token file {self._path}"
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_TOKEN_BYTES + 1)
                written_at = self._path.stat().st_mtime
        except OSError as error:
            # A missing file is not permanent: another program may write it later.
            raise CredentialsError(
                f"{name} cannot be read: {error.strerror}",
                permanent=not isinstance(error, FileNotFoundError),
            ) from None
        if len(data) > MAX_TOKEN_BYTES:
            raise CredentialsError(f"{name} is larger than {MAX_TOKEN_BYTES} bytes", permanent=True)
        try:
            self._set(parse_token(data.decode(errors="replace"), written_at))
        except TokenTextError as error:
            raise CredentialsError(f"{name} holds {error}", permanent=True) from None


class CommandCredentials(_SuppliedCredentials):
    """The access token that a command prints; `refresh` runs the command again."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self._words = tuple(words)

    def refresh(self, request: google.auth.transport.Request) -> None:
        """Run the command.

        Raises:
            CredentialsError: the command fails, hangs, or prints no token.
        """
        output = run_token_command(self._words)
        try:
            self._set(parse_token(output, time.time()))
        except TokenTextError as error:
            raise CredentialsError(
                f"the token command {self._words[0]!r} prints {error}", permanent=True
            ) from None
