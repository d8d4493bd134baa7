"""The methods of the JSON API that notifications need. See `JsonApi`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gcsmux_fs.emulator.pubsub.policy_service import PROJECT_NUMBER, may_publish, service_agent
from gcsmux_fs.emulator.rpc_error import RpcError, invalid
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.emulator.access_tokens import AccessTokens
    from gcsmux_fs.emulator.buckets.store import BucketStore
    from gcsmux_fs.emulator.pubsub.configured_notifications import (
        ConfiguredNotification,
        ConfiguredNotifications,
    )
    from gcsmux_fs.emulator.pubsub.topic_registry import TopicRegistry

__all__ = ["JsonAnswer", "JsonApi"]

_PUBSUB = "//pubsub.googleapis.com/"
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")
_CONFIGS = re.compile(r"/storage/v1/b/([^/]+)/notificationConfigs")
_CONFIG = re.compile(r"/storage/v1/b/([^/]+)/notificationConfigs/([^/]+)")
_SERVICE_ACCOUNT = re.compile(r"/storage/v1/projects/([^/]+)/serviceAccount")
_STATUS = {
    StatusCode.INVALID_ARGUMENT: (400, "invalid"),
    StatusCode.UNAUTHENTICATED: (401, "authError"),
    StatusCode.PERMISSION_DENIED: (403, "forbidden"),
    StatusCode.NOT_FOUND: (404, "notFound"),
}


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The answer to a request: the HTTP status, and the content (None: no content)."""

    status: int
    content: Mapping[str, object] | None = None

    @property
    def body(self) -> bytes:
        """The content as JSON."""
        return b"" if self.content is None else json.dumps(self.content).encode()


class JsonApi:
    """Answers requests for notification configurations, buckets and the service account."""

    def __init__(
        self,
        store: BucketStore,
        registry: TopicRegistry,
        configs: ConfiguredNotifications,
        tokens: AccessTokens,
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._registry = registry
        self._configs = configs

    def answer(self, method: str, path: str, body: bytes, authorization: str) -> JsonAnswer:
        """Return the answer to a request. `path` has no query."""
        try:
            self._tokens.check_header(authorization)
            return self._answer(method, path, body)
        except RpcError as error:
            status, reason = _STATUS.get(error.code, (500, "backendError"))
            return _error(status, reason, error.message)

    def _answer(self, method: str, path: str, body: bytes) -> JsonAnswer:
        if match := _CONFIGS.fullmatch(path):
            bucket = self._store.bucket(unquote(match[1])).name
            if method == "POST":
                return JsonAnswer(200, _resource(self._create(bucket, body)))
            if method == "GET":
                return self._list(bucket)
        elif match := _CONFIG.fullmatch(path):
            bucket, config_id = unquote(match[1]), unquote(match[2])
            if method == "GET":
                return JsonAnswer(200, _resource(self._configs.get(bucket, config_id)))
            if method == "DELETE":
                self._configs.delete(bucket, config_id)
                return JsonAnswer(204)
        elif method == "GET" and _SERVICE_ACCOUNT.fullmatch(path):
            return JsonAnswer(
                200, {"kind": "storage#serviceAccount", "email_address": service_agent()}
            )
        elif method == "GET" and (match := _BUCKET.fullmatch(path)):
            return JsonAnswer(200, self._bucket(unquote(match[1])))
        return _error(404, "notFound", f"The emulator does not serve {method} {path}.")

    def _bucket(self, name: str) -> Mapping[str, object]:
        bucket = self._store.bucket(name)
        return {
            "kind": "storage#bucket",
            "id": name,
            "name": name,
            "projectNumber": str(PROJECT_NUMBER),
            "location": bucket.placement.location,
            "locationType": bucket.placement.location_type,
            "storageClass": bucket.placement.storage_class,
        }

    def _list(self, bucket: str) -> JsonAnswer:
        items = [_resource(config) for config in self._configs.of(bucket)]
        content: dict[str, object] = {"kind": "storage#notifications"}
        return JsonAnswer(200, content | ({"items": items} if items else {}))

    def _create(self, bucket: str, body: bytes) -> ConfiguredNotification:
        members = _members(body)
        topic = members.get("topic")
        if not isinstance(topic, str) or not topic.startswith(_PUBSUB):
            raise invalid(f"topic must be {_PUBSUB}projects/PROJECT/topics/TOPIC.")
        self._check_topic(topic)
        event_types = members.get("event_types", [])
        attributes = members.get("custom_attributes", {})
        prefix = members.get("object_name_prefix", "")
        if not (
            isinstance(event_types, list)
            and isinstance(attributes, dict)
            and isinstance(prefix, str)
            and all(isinstance(text, str) for text in (*event_types, *attributes.values()))
        ):
            raise invalid("A member of the notification configuration has the wrong type.")
        return self._configs.create(
            bucket,
            topic.removeprefix(_PUBSUB),
            payload_format=str(members.get("payload_format", "")),
            event_types=tuple(event_types),
            object_name_prefix=prefix,
            custom_attributes=attributes,
        )

    def _check_topic(self, topic: str) -> None:
        """Check that the topic exists, and that the service agent may publish to it."""
        try:
            allowed = may_publish(self._registry.topic(topic.removeprefix(_PUBSUB)))
        except RpcError:
            allowed = False
        if not allowed:
            raise RpcError(
                StatusCode.PERMISSION_DENIED,
                f"The service account '{service_agent()}' does not have permission to publish"
                f" messages to the Cloud Pub/Sub topic '{topic}', or that topic does not exist.",
            )


def _members(body: bytes) -> Mapping[str, object]:
    try:
        members = json.loads(body)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise invalid("The body is not a JSON object.")
    return members


def _resource(config: ConfiguredNotification) -> Mapping[str, object]:
    resource = {
        "kind": "storage#notification",
        "id": config.id,
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{config.bucket}"
        f"/notificationConfigs/{config.id}",
        "topic": _PUBSUB + config.topic,
        "payload_format": config.payload_format,
        "event_types": list(config.event_types),
        "object_name_prefix": config.object_name_prefix,
        "custom_attributes": dict(config.custom_attributes),
        "etag": config.id,
    }
    return {name: value for name, value in resource.items() if value}


def _error(status: int, reason: str, message: str) -> JsonAnswer:
    return JsonAnswer(
        status,
        {
            "error": {
                "code": status,
                "message": message,
                "errors": [{"message": message, "domain": "global", "reason": reason}],
            }
        },
    )
