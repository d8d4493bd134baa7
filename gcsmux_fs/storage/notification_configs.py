"""Reads and changes the notification configurations of buckets, over the JSON API.

The gRPC API of Cloud Storage has no call for them. The calls block, because only commands make
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests

from gcsmux_fs.model.errors import StatusCode, StorageError, storage_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["EVENT_TYPES", "JSON_PAYLOAD", "BucketNotifications", "NotificationConfig"]

EVENT_TYPES = ("OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE", "OBJECT_DELETE", "OBJECT_ARCHIVE")
"""All types of events that Cloud Storage publishes."""

JSON_PAYLOAD = "JSON_API_V1"
"""The payload format whose messages contain the metadata of the object."""

_TOPIC_SCHEME = "//pubsub.googleapis.com/"

# Time limits to connect and to wait for an answer, in seconds.
_TIMEOUTS = (5.0, 20.0)

_CODES = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    409: StatusCode.ALREADY_EXISTS,
    412: StatusCode.FAILED_PRECONDITION,
    429: StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass(frozen=True, slots=True)
class NotificationConfig:
    """One notification configuration of a bucket.

    Attributes:
        topic: the full name, `projects/P/topics/T`.
        event_types: the events that are published; empty for all.
        prefix: only events of objects whose names begin with this are published.
        attributes: attributes that each message gets in addition.
        config_id: the ID in the bucket; empty before the service has given one.
    """

    topic: str
    payload_format: str = JSON_PAYLOAD
    event_types: tuple[str, ...] = EVENT_TYPES
    prefix: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    config_id: str = ""


class BucketNotifications:
    """The calls of the JSON API about notifications.

    Args:
        address: the start of all URLs, such as https://storage.googleapis.com.
        headers: the headers with the access token.
        ca_file: the certificates to trust; None for the public ones.
    """

    def __init__(
        self, address: str, headers: tuple[tuple[str, str], ...], ca_file: Path | None = None
    ) -> None:
        self._base = f"{address}/storage/v1"
        self._headers = dict(headers)
        self._verify: bool | str = True if ca_file is None else str(ca_file)
        self._session = requests.Session()
        # Without this, requests would replace the token by a password of ~/.netrc.
        self._session.auth = lambda request: request

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def project_number(self, bucket: str) -> str:
        """Return the number of the project that owns a bucket.

        Raises:
            StorageError: the bucket does not exist, or its metadata cannot be read.
        """
        answer = self._call("GET", f"b/{_quoted(bucket)}?fields=projectNumber", f"gs://{bucket}")
        return str(answer.get("projectNumber", ""))

    def service_agent(self, project: str) -> str:
        """Return the e-mail of the account that publishes the events; create it if necessary.

        Raises:
            StorageError: the call failed.
        """
        answer = self._call(
            "GET", f"projects/{_quoted(project)}/serviceAccount", f"project {project}"
        )
        return str(answer.get("email_address", ""))

    def configurations(self, bucket: str) -> tuple[NotificationConfig, ...]:
        """Return all notification configurations of a bucket.

        Raises:
            StorageError: the call failed.
        """
        answer = self._call("GET", f"b/{_quoted(bucket)}/notificationConfigs", f"gs://{bucket}")
        return tuple(map(_parsed, answer.get("items", ())))

    def create(self, bucket: str, config: NotificationConfig) -> NotificationConfig:
        """Create a notification configuration; return it with its ID.

        Raises:
            StorageError: the call failed.
        """
        resource: dict[str, Any] = {
            "topic": _TOPIC_SCHEME + config.topic,
            "payload_format": config.payload_format,
            "event_types": list(config.event_types),
        }
        if config.prefix:
            resource["object_name_prefix"] = config.prefix
        if config.attributes:
            resource["custom_attributes"] = dict(config.attributes)
        path = f"b/{_quoted(bucket)}/notificationConfigs"
        return _parsed(self._call("POST", path, f"gs://{bucket}", resource))

    def delete(self, bucket: str, config_id: str) -> None:
        """Delete a notification configuration.

        Raises:
            StorageError: the call failed.
        """
        path = f"b/{_quoted(bucket)}/notificationConfigs/{_quoted(config_id)}"
        self._call("DELETE", path, f"gs://{bucket}")

    def _call(
        self, method: str, path: str, subject: str, resource: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            answer = self._session.request(
                method,
                f"{self._base}/{path}",
                headers=self._headers,
                json=resource,
                timeout=_TIMEOUTS,
                verify=self._verify,
            )
            content = answer.json() if answer.content else {}
        except requests.exceptions.JSONDecodeError:
            content = {}
        except requests.exceptions.RequestException as error:
            message = f"the JSON API cannot be reached ({_reason(error)})"
            raise storage_error(StatusCode.UNAVAILABLE, message, subject=subject) from None
        if not answer.ok:
            raise _failure(answer.status_code, content, subject)
        return content if isinstance(content, dict) else {}


def _reason(error: requests.exceptions.RequestException) -> str:
    match error:
        case requests.exceptions.SSLError():
            return "its certificate is not trusted: see --ca-file"
        case requests.exceptions.ProxyError():
            return "the proxy refuses the connection"
        case requests.exceptions.Timeout():
            return "no answer in time"
        case requests.exceptions.ConnectionError():
            return "no connection"
    return type(error).__name__


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _failure(status: int, content: object, subject: str) -> StorageError:
    message = ""
    if isinstance(content, dict) and isinstance(content.get("error"), dict):
        message = str(content["error"].get("message", ""))
    default = StatusCode.UNAVAILABLE if status >= 500 else StatusCode.UNKNOWN
    code = _CODES.get(status, default)
    return storage_error(code, message.rstrip(".") or f"HTTP status {status}", subject=subject)


def _parsed(resource: Mapping[str, Any]) -> NotificationConfig:
    return NotificationConfig(
        topic=str(resource.get("topic", "")).removeprefix(_TOPIC_SCHEME),
        payload_format=str(resource.get("payload_format", "")),
        event_types=tuple(resource.get("event_types", ())),
        prefix=str(resource.get("object_name_prefix", "")),
        attributes=dict(resource.get("custom_attributes", {})),
        config_id=str(resource.get("id", "")),
    )
