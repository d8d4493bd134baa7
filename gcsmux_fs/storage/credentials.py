"""Finds the credentials of a mount: options first, then Application Default Credentials (ADC).

The order of ADC is that of Google's own tools: the file that GOOGLE_APPLICATION_CREDENTIALS names,
the login of `gcloud auth application-default login`, and the metadata server of Compute Engine.

This module imports google-auth when credentials are loaded, not before: it takes 0.1 s of CPU time,
and an anonymous mount does not need it.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.storage.credential_files import identity_in, read_credential_file

if TYPE_CHECKING:
    import google.auth.credentials

__all__ = [
    "CLOUD_SCOPE",
    "CREDENTIALS_VARIABLE",
    "MACHINE_IDENTITY",
    "PUBSUB_SCOPE",
    "READ_SCOPE",
    "CredentialSettings",
    "LoadedCredentials",
    "load_credentials",
]

CREDENTIALS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
"""The environment variable that names the file of Application Default Credentials."""

MACHINE_IDENTITY = "the service account of this machine"
"""The identity of credentials from the metadata server, until the first token is fetched."""

READ_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
"""The scope of a token that may read objects and the metadata of buckets."""

PUBSUB_SCOPE = "https://www.googleapis.com/auth/pubsub"
"""The scope of a token that may use Pub/Sub."""

CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""The scope of a token that may do everything that its account may."""

# gcloud reads this variable for private endpoints of the IAM API; this module does too.
_IAM_ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS"
_GCLOUD_FOLDER_VARIABLE = "CLOUDSDK_CONFIG"
_GCLOUD_FILE = "application_default_credentials.json"


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """Which credentials a mount uses. At most one of the first three is set.

    Attributes:
        key_file: a credential file of any type.
        token_file: a file with an access token.
        token_command: the words of a command that prints an access token; empty for none.
        impersonate: e-mail addresses of service accounts: the delegates in the order of the chain,
            then the account whose rights the mount uses. Empty for no impersonation.
        scopes: what the tokens may be used for, if the credentials do not have scopes of their own.
    """

    key_file: Path | None = None
    token_file: Path | None = None
    token_command: tuple[str, ...] = ()
    impersonate: tuple[str, ...] = ()
    scopes: tuple[str, ...] = (READ_SCOPE,)


@dataclass(frozen=True, slots=True)
class LoadedCredentials:
    """Credentials, whose they are, and the file from which they were read, if any."""

    credentials: google.auth.credentials.Credentials
    identity: str
    path: Path | None = None


def load_credentials(settings: CredentialSettings, host: str) -> LoadedCredentials:
    """Return the credentials that `settings` choose. No token is fetched yet.

    `host`: the name of the service; the audience of tokens of Google Distributed Cloud.

    Raises:
        CredentialsError: there are no credentials, or they cannot be used.
    """
    loaded = _source(settings, host)
    if not settings.impersonate:
        return loaded
    from google.auth import impersonated_credentials

    *delegates, target = settings.impersonate
    credentials = impersonated_credentials.Credentials(
        loaded.credentials,
        target,
        list(settings.scopes),
        delegates=delegates,
        iam_endpoint_override=_iam_endpoint(target),
    )
    identity = f"service account {target}, impersonated by {loaded.identity}"
    return LoadedCredentials(credentials, identity, loaded.path)


def _iam_endpoint(email: str) -> str | None:
    base = os.environ.get(_IAM_ENDPOINT_VARIABLE, "").rstrip("/")
    return f"{base}/v1/projects/-/serviceAccounts/{email}:generateAccessToken" if base else None


def _source(settings: CredentialSettings, host: str) -> LoadedCredentials:
    """Return the credentials before any impersonation."""
    if settings.token_file is not None or settings.token_command:
        from gcsmux_fs.storage.supplied_tokens import CommandCredentials, FileCredentials

        if path := settings.token_file:
            return LoadedCredentials(FileCredentials(path), f"the access token in {path}", path)
        words = settings.token_command
        return LoadedCredentials(CommandCredentials(words), f"the token command {words[0]!r}")
    if settings.key_file is not None:
        return _of_file(
            settings.key_file, f"the key file {settings.key_file}", host, settings.scopes
        )
    if named := os.environ.get(CREDENTIALS_VARIABLE):
        name = f"{named}, which {CREDENTIALS_VARIABLE} names"
        return _of_file(Path(named), name, host, settings.scopes)
    login = _gcloud_folder() / _GCLOUD_FILE
    if login.is_file():
        return _of_file(login, f"the login of gcloud in {login}", host, settings.scopes)
    return _of_machine(settings.scopes)


def _gcloud_folder() -> Path:
    # Path.home() would raise an error for a user without a home directory.
    if named := os.environ.get(_GCLOUD_FOLDER_VARIABLE):
        return Path(named)
    return Path(os.path.expanduser("~")) / ".config" / "gcloud"  # noqa: PTH111


def _of_file(path: Path, name: str, host: str, scopes: tuple[str, ...]) -> LoadedCredentials:
    """Return the credentials in a credential file of any type."""
    info = read_credential_file(path, name)
    identity = f"{identity_in(info)} from {path}"
    return LoadedCredentials(_of_fields(info, name, host, scopes), identity, path)


def _of_fields(
    info: dict[str, Any], name: str, host: str, scopes: tuple[str, ...]
) -> google.auth.credentials.Credentials:
    import google.auth
    import google.auth.exceptions

    try:
        with warnings.catch_warnings():
            # google-auth warns about files of unknown origin, and about logins without a quota
            # project. Here the user names the file.
            warnings.simplefilter("ignore")
            credentials, _ = google.auth.load_credentials_from_dict(info)
        # Set the scope only if the credentials require one, as google.auth.default does. The
        # credentials of a user keep the scopes of the login, and a renewal with other scopes fails.
        credentials = google.auth.credentials.with_scopes_if_required(credentials, scopes)
    except (
        google.auth.exceptions.GoogleAuthError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        # The last argument is the cause, if there is one.
        reason = " ".join(str(error.args[-1] if error.args else error).split()).rstrip(".")
        raise CredentialsError(
            f"cannot use {name}: its fields are malformed ({reason})", permanent=True
        ) from None
    if hasattr(credentials, "with_gdch_audience"):
        return credentials.with_gdch_audience(f"https://{host}")
    return credentials


def _of_machine(scopes: tuple[str, ...]) -> LoadedCredentials:
    """Return the credentials of the service account that this machine has in Google Cloud."""
    import google.auth
    import google.auth.exceptions

    try:
        credentials, _ = google.auth.default(scopes=scopes)
    except google.auth.exceptions.GoogleAuthError as error:
        reason = " ".join(str(error.args[0] if error.args else error).split()).rstrip(".")
        raise CredentialsError(
            f"no credentials were found ({reason}): run `gcloud auth application-default login`,"
            " name the key of a service account with --key-file, or use --anonymous for a public"
            " bucket",
            permanent=True,
        ) from None
    return LoadedCredentials(credentials, MACHINE_IDENTITY)
