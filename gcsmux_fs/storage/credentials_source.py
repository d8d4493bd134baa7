"""Fetches access tokens with google-auth, and reads a changed credential file again."""

from __future__ import annotations

import datetime as dt
import logging
import math
import os
from typing import TYPE_CHECKING, Any

import google.auth.credentials
import google.auth.transport.requests

from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.storage.credential_errors import explain_failure
from gcsmux_fs.storage.credentials import MACHINE_IDENTITY
from gcsmux_fs.storage.fetched_token import FetchedToken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.storage.credentials import LoadedCredentials

__all__ = ["BoundedRequest", "CredentialsSource"]

log = logging.getLogger(__name__)

# Time limits of one request to a token server. google-auth's default of 120 s is as long as the
# read timeout, so that a reader would fail before the second attempt.
_CONNECT_SECONDS = 5.0
_REQUEST_SECONDS = 20.0

# The header for requester pays. Credentials add it if they have a quota project. If the user chose
# another project with --billing-project, the call has this header already.
_PROJECT_HEADER = "x-goog-user-project"


class BoundedRequest(google.auth.transport.requests.Request):  # type: ignore[misc]
    """Makes the HTTP requests of google-auth, with a time limit.

    It is a subclass, because the credentials of Google Distributed Cloud accept no other type.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        super().__init__()
        # Passed with each request, because requests prefers REQUESTS_CA_BUNDLE to a setting of the
        # session.
        self._verify = {} if ca_file is None else {"verify": os.fspath(ca_file)}

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Make one request; see the base class."""
        seconds = min(timeout or _REQUEST_SECONDS, _REQUEST_SECONDS)
        limits = (min(seconds, _CONNECT_SECONDS), seconds)
        return super().__call__(url, method, body, headers, limits, **{**self._verify, **options})


class CredentialsSource:
    """A source of tokens (see `tokens.TokenSource`) that uses credentials of google-auth.

    Args:
        load: loads the credentials; called again when their file has changed.
        request: makes the HTTP requests.
        target: the e-mail of the service account that is impersonated; may be empty.
        with_project: whether a token brings the header with the quota project of the credentials.

    Raises:
        CredentialsError: the credentials cannot be loaded.
    """

    def __init__(
        self,
        load: Callable[[], LoadedCredentials],
        request: BoundedRequest,
        *,
        target: str = "",
        with_project: bool = True,
    ) -> None:
        self._load = load
        self._request = request
        self._target = target
        self._with_project = with_project
        self._loaded = load()
        self._signature = _signature(self._loaded.path)

    @property
    def identity(self) -> str:
        """Whose tokens these are, and their source; never a secret."""
        identity = self._loaded.identity
        # google-auth knows the e-mail address of this machine's account after the first fetch.
        email = getattr(self._loaded.credentials, "service_account_email", "")
        if identity == MACHINE_IDENTITY and "@" in email:
            return f"service account {email} from the metadata server"
        return identity

    @property
    def has_file(self) -> bool:
        """Whether the credentials come from a file."""
        return self._loaded.path is not None

    def changed(self) -> bool:
        """Return whether the file of the credentials has changed since it was last read."""
        return self.has_file and _signature(self._loaded.path) != self._signature

    def fetch(self) -> FetchedToken:
        """Return a token; read the file of the credentials first if it has changed.

        Raises:
            CredentialsError: there is no token.
        """
        if self.changed():
            self._read_again()
        credentials = self._loaded.credentials
        try:
            credentials.refresh(self._request)
        except Exception as error:
            raise explain_failure(error, self.identity, self._target) from None
        if not credentials.token:
            raise CredentialsError(f"no token for {self.identity}: the answer holds none")
        lifetime = _lifetime(credentials)
        if lifetime <= 0:
            raise CredentialsError(
                f"the access token for {self.identity} has expired {-lifetime:.0f} s ago: renew the"
                " token, or check the clock of this machine"
            )
        headers: dict[str, str] = {}
        credentials.apply(headers)
        if not self._with_project:
            headers.pop(_PROJECT_HEADER, None)
        return FetchedToken(tuple(headers.items()), lifetime)

    def _read_again(self) -> None:
        """Read the changed file; keep the old credentials if the file cannot be used."""
        path = self._loaded.path
        # Taken before the file is read, so that a change while it is read is found later.
        self._signature = _signature(path)
        before = self.identity
        try:
            self._loaded = self._load()
        except CredentialsError as error:
            log.warning("%s has changed, but the old credentials stay in use: %s.", path, error)
            return
        level = logging.DEBUG if self.identity == before else logging.INFO
        log.log(level, "%s has changed: using %s", path, self.identity)


def _lifetime(credentials: google.auth.credentials.Credentials) -> float:
    """Return for how many seconds the token is valid; infinity if unknown."""
    if credentials.expiry is None:
        return math.inf
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    return float((credentials.expiry - now).total_seconds())


def _signature(path: Path | None) -> tuple[int, int, int] | None:
    """Return values that change when the file is replaced or rewritten; None without a file."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
