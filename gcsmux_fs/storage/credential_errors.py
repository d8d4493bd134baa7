"""Translates the errors of google-auth into one sentence each: what failed, for whom, what to do.

The sentence never holds the answer of a token server, because an answer may hold tokens. An error
of google-auth has its message in `args[0]`, and often the answer in `args[1]`.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

import google.auth.exceptions
import requests.exceptions

from gcsmux_fs.model.errors import CredentialsError

__all__ = ["explain_failure"]

_LOGIN = "run `gcloud auth application-default login` again"
_TOKEN_CREATOR = "roles/iam.serviceAccountTokenCreator"

# Parts of the messages of Google's token servers, in lower case, and what they mean. The first
# entry that matches counts. The messages were collected from Google's documentation and from issues
# of google-auth.
_REFUSALS = (
    ("reasonable timeframe", "the clock of this machine is wrong: set the clock"),
    ("invalid jwt signature", "the key was deleted or disabled: create a new key"),
    ("account not found", "the service account does not exist: it was deleted or renamed"),
    ("user not found", "the account does not exist: it was deleted or renamed"),
    ("account disabled", "the service account is disabled: enable it"),
    ("expired or revoked", f"the login has ended: {_LOGIN}"),
    ("invalid_rapt", f"the organization requires a new login: {_LOGIN}"),
    ("reauthentication", f"the organization requires a new login: {_LOGIN}"),
    ("deleted_client", f"the OAuth client of this login was deleted: {_LOGIN}"),
    ("invalid_client", f"the OAuth client of this login is unknown: {_LOGIN}"),
    ("attribute condition", "the condition of the workload identity provider rejects the identity"),
    ("invalid_target", "the audience names no workload identity provider that exists"),
)

# Answers of the IAM API to an impersonation: part of the message in lower case, and the remedy with
# {} for the e-mail of the impersonated service account.
_IMPERSONATION_REFUSALS = (
    ("has not been used", "enable the API iamcredentials.googleapis.com in the project of {}"),
    ("getaccesstoken", f"grant the caller the role {_TOKEN_CREATOR} on {{}}"),
    ("permission", f"grant the caller the role {_TOKEN_CREATOR} on {{}}"),
    ("not found", "check the e-mail {}"),
    ("unknown service account", "check the e-mail {}"),
)
_IMPERSONATION_FAILED = "Unable to acquire impersonated credentials"
_TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_EXECUTABLE_FAILED = "Executable exited with non-zero return code"
_NO_TOKEN_IN_METADATA = "metadata service. Status: 404"
_NO_SERVICE_ACCOUNT = "the metadata server has no token: attach a service account to this machine"
_MAX_CHARACTERS = 300


def explain_failure(error: Exception, identity: str, target: str = "") -> CredentialsError:
    """Return the error for a failed fetch of a token.

    `identity`: whose token was fetched. `target`: the e-mail of the service account that is
    impersonated; may be empty.
    """
    if isinstance(error, CredentialsError):
        return error
    if (cause := _network_error(error)) is not None:
        if _NO_TOKEN_IN_METADATA in str(cause):
            return CredentialsError(
                f"no token for {identity}: {_NO_SERVICE_ACCOUNT}", permanent=True
            )
        return _unreachable(cause, identity)
    message = _message(error)
    if message.startswith(_IMPERSONATION_FAILED):
        return _impersonation_refused(error, target, identity)
    if message.startswith(_EXECUTABLE_FAILED):
        # The rest of the message is the output of the executable.
        code = message.removeprefix(_EXECUTABLE_FAILED).partition(".")[0].strip()
        return CredentialsError(f"the executable of {identity} failed with exit code {code}")
    if isinstance(error, subprocess.TimeoutExpired):
        return CredentialsError(
            f"the executable of {identity} did not end within {error.timeout:g} s"
        )
    if getattr(error, "retryable", False):
        return CredentialsError(f"the token server fails for {identity} ({message})")
    lowered = message.lower()
    for part, meaning in _REFUSALS:
        if part in lowered:
            return CredentialsError(
                f"the token server refuses {identity} ({message}): {meaning}", permanent=True
            )
    if _is_answer(error):
        return CredentialsError(f"the token server refuses {identity} ({message})", permanent=True)
    # A local cause: a file or an executable of the credentials cannot be used.
    return CredentialsError(f"no token for {identity}: {message}", permanent=_is_refusal(error))


def _is_answer(error: Exception) -> bool:
    """Return whether a token server has answered with an error."""
    oauth = isinstance(error, google.auth.exceptions.OAuthError)
    return oauth or (_is_refusal(error) and len(error.args) > 1)


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, google.auth.exceptions.GoogleAuthError)


def _message(error: Exception) -> str:
    """Return the message of an error on one line, without the answer of the token server."""
    text = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if text.lstrip().startswith(("{", "<")):
        # The answer itself, because it has no field that google-auth knows.
        text = "the answer has no error code"
    return " ".join(text.split())[:_MAX_CHARACTERS].removesuffix(": None").rstrip(". ")


def _network_error(error: Exception) -> Exception | None:
    """Return the network error behind `error`; None if another cause made it."""
    network = (requests.exceptions.RequestException, google.auth.exceptions.TransportError)
    while not isinstance(error, requests.exceptions.RequestException):
        inner = error.args[0] if error.args else None
        if not isinstance(inner, Exception):
            break
        error = inner
    return error if isinstance(error, network) else None


def _unreachable(error: Exception, identity: str) -> CredentialsError:
    request = getattr(error, "request", None)
    host = str(getattr(request, "url", "") or "").partition("://")[2].partition("/")[0]
    server = f"the token server {host}" if host else "the token server"
    match error:
        case requests.exceptions.SSLError():
            return CredentialsError(
                f"{server} shows a certificate that is not trusted: name the file of its"
                " certificate authority with --ca-file",
                permanent=True,
            )
        case requests.exceptions.ProxyError():
            reason = "the HTTP proxy does not connect"
        case requests.exceptions.Timeout():
            reason = "it does not answer in time"
        case requests.exceptions.ConnectionError():
            reason = _innermost(error)
        case _:
            reason = _message(error)
    return CredentialsError(f"{server} cannot be reached for {identity}: {reason}")


def _innermost(error: BaseException) -> str:
    """Return the text of the system call or name lookup that made the connection fail."""
    text = str(error)
    for part in ("Connection refused", "Network is unreachable", "No route to host"):
        if part in text:
            return part.lower()
    if any(part in text for part in ("NameResolution", "getaddrinfo", "Name or service")):
        return "its name cannot be resolved"
    return "the connection failed"


def _impersonation_refused(error: Exception, target: str, identity: str) -> CredentialsError:
    """Return the error for an answer of the IAM API; `target` may be empty."""
    status, message = _iam_answer(error.args[1] if len(error.args) > 1 else "")
    account = target or identity
    text = f"{account} cannot be impersonated ({message})"
    if status in _TRANSIENT_STATUSES:
        return CredentialsError(text)
    for part, remedy in _IMPERSONATION_REFUSALS:
        if part in message.lower():
            return CredentialsError(f"{text}: {remedy.format(account)}", permanent=True)
    return CredentialsError(text, permanent=True)


def _iam_answer(body: Any) -> tuple[int, str]:
    """Return the status and the message in an error answer of the IAM API."""
    try:
        answer = json.loads(body)["error"]
        return int(answer["code"]), _shortened(str(answer["message"]))
    except (KeyError, TypeError, ValueError):
        return 0, "the answer has no error code"


def _shortened(text: str) -> str:
    return " ".join(text.split())[:_MAX_CHARACTERS].rstrip(". ")
