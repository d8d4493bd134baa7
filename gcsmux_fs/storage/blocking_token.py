"""Fetches one access token for a command that makes a few blocking calls and ends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gcsmux_fs.storage.credentials import load_credentials

if TYPE_CHECKING:
    from gcsmux_fs.storage.channels import ChannelSettings

__all__ = ["fetch_headers"]


def fetch_headers(settings: ChannelSettings) -> tuple[tuple[str, str], ...]:
    """Return the headers with an access token; none for anonymous access.

    Raises:
        CredentialsError: there is no access token.
    """
    if settings.anonymous:
        return ()
    # Loading google-auth takes 0.1 s of CPU time, so an anonymous command does not load it.
    from gcsmux_fs.storage.credentials_source import BoundedRequest, CredentialsSource

    host = settings.endpoint.rpartition(":")[0]
    source = CredentialsSource(
        partial(load_credentials, settings.credentials, host),
        BoundedRequest(settings.ca_file),
        target=settings.impersonate[-1] if settings.impersonate else "",
        with_project=not settings.billing_project,
    )
    return source.fetch().headers
