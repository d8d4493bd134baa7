"""Judges the credentials, the token server and DirectPath; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gcsmux_fs.doctor.checklist import Finding, failure, healthy
from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.settings.units import rounded_duration

if TYPE_CHECKING:
    from gcsmux_fs.storage.direct_path import ConnectedPaths

__all__ = [
    "credentials_finding",
    "direct_path_finding",
    "token_finding",
    "token_host",
    "unresolved_finding",
]

_ANONYMOUS = "no credentials are sent (--anonymous or an emulator)"


def credentials_finding(answer: str | CredentialsError | None) -> Finding:
    """Judge the credentials: whose they are, the error, or None for anonymous access."""
    if isinstance(answer, CredentialsError):
        return _failed(answer, "name a key with --key-file, or use --anonymous for a public bucket")
    return healthy(answer or _ANONYMOUS)


def token_host(credentials: object) -> str:
    """Return the name of the token server of google-auth's credentials; "" if it is unknown."""
    for attribute in ("_token_uri", "_token_url"):
        address = getattr(credentials, attribute, None)
        if isinstance(address, str):
            return urlsplit(address).hostname or ""
    return ""


def unresolved_finding(host: str) -> Finding:
    """Return the finding for a token server without an address."""
    return failure(
        f"the token server {host} has no address",
        "check the name servers in /etc/resolv.conf, and set https_proxy if the network requires a"
        " proxy",
    )


def token_finding(answer: str | CredentialsError | None, seconds: float) -> Finding:
    """Judge the first token: whose it is, the error, or None if no token is needed."""
    if isinstance(answer, CredentialsError):
        return _failed(answer, "check the account, then log in again or use a new key")
    if answer is None:
        return healthy("no token is needed")
    return healthy(f"a token for {answer} arrived after {rounded_duration(seconds)}")


def direct_path_finding(mode: str, paths: ConnectedPaths) -> Finding:
    """Judge whether the connections of this process use DirectPath. `mode`: see --direct-path."""
    if mode == "off":
        return healthy("not asked for (--direct-path=off)")
    if paths.direct:
        return healthy(f"in use: the server is {paths.direct[0]}")
    servers = ", ".join(map(str, paths.other)) or "unknown"
    detail = f"not available: the servers are {servers}"
    if mode == "require":
        return failure(
            detail,
            "mount on a machine of Compute Engine with a service account, in the region of the"
            " bucket, or write --direct-path=try",
        )
    return healthy(f"{detail}, behind Google's front ends")


def _failed(error: CredentialsError, remedy: str) -> Finding:
    """Return a failure. Most messages name their own remedy after the last colon."""
    detail, colon, own = str(error).removesuffix(".").rpartition(": ")
    if not colon or " " not in own:
        return failure(str(error).removesuffix("."), remedy)
    return failure(detail, own)
