"""Reads credential files: the JSON files that Google Cloud's tools write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gcsmux_fs.model.errors import CredentialsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["identity_in", "read_credential_file"]

# For each type of credentials that google-auth loads: the fields without which it cannot fetch a
# token.
_REQUIRED_FIELDS = {
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "service_account": ("client_email", "private_key", "token_uri"),
    "external_account": ("audience", "credential_source", "subject_token_type", "token_url"),
    "external_account_authorized_user": (
        "client_id",
        "client_secret",
        "refresh_token",
        "token_url",
    ),
    "impersonated_service_account": ("service_account_impersonation_url", "source_credentials"),
    "gdch_service_account": (
        "format_version",
        "name",
        "private_key",
        "private_key_id",
        "project",
        "token_uri",
    ),
}

# A credential file has a few KiB. A larger file is not one.
_MAX_BYTES = 1024 * 1024


def read_credential_file(path: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in a credential file.

    `name`: the file in an error message, such as "the key file /k.json".

    Raises:
        CredentialsError: the file cannot be read, or does not hold credentials.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unusable(name, "it does not exist") from None
    except OSError as error:
        raise _unusable(name, error.strerror or str(error)) from None
    try:
        info = json.loads(data)
    except ValueError:
        raise _unusable(name, "it is not JSON: download the key of the type JSON") from None
    if not isinstance(info, dict):
        raise _unusable(name, "it does not hold credentials (its JSON is not an object)")
    if "installed" in info or "web" in info:
        raise _unusable(
            name,
            "it holds an OAuth client and no login: run"
            " `gcloud auth application-default login --client-id-file=FILE`",
        )
    _check_fields(info, name)
    return info


def _check_fields(info: dict[str, Any], name: str) -> None:
    kind = info.get("type")
    if kind is None:
        raise _unusable(name, "it has no field `type`, so it does not hold credentials")
    required = _REQUIRED_FIELDS.get(kind) if isinstance(kind, str) else None
    if required is None:
        known = ", ".join(_REQUIRED_FIELDS)
        raise _unusable(name, f"its type {kind!r} is unknown (known types: {known})")
    missing = [field for field in required if not info.get(field)]
    if missing:
        raise _unusable(name, f"it has no field `{missing[0]}`, which the type {kind!r} requires")


def _unusable(name: str, reason: str) -> CredentialsError:
    return CredentialsError(f"cannot use {name}: {reason}", permanent=True)


def identity_in(info: dict[str, Any]) -> str:
    """Return whose credentials these are: an e-mail address, or the kind of the credentials."""
    match info.get("type"):
        case "service_account":
            return f"service account {info['client_email']}"
        case "authorized_user":
            account = info.get("account")
            return f"user {account}" if account else "the credentials of a user"
        case "external_account":
            return _external_identity(info)
        case "external_account_authorized_user":
            return "the workforce identity of a user"
        case "impersonated_service_account":
            email = _impersonated_email(info["service_account_impersonation_url"])
            return f"service account {email}, impersonated"
        case "gdch_service_account":
            return f"service identity {info['name']} of the project {info['project']}"
    return "credentials of an unknown kind"


def _external_identity(info: dict[str, Any]) -> str:
    if url := info.get("service_account_impersonation_url"):
        return f"service account {_impersonated_email(url)}, impersonated by a workload identity"
    return f"the workload identity of {info['audience']}"


def _impersonated_email(url: object) -> str:
    """Return the e-mail address in .../serviceAccounts/EMAIL:generateAccessToken."""
    return str(url).rpartition("/")[2].partition(":")[0]
