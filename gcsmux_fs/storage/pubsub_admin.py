"""Reads and changes topics and subscriptions of Pub/Sub.

The calls block, because only commands make them. They use a channel of gRPC's blocking API, which
works beside the channels of grpc.aio.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import empty_pb2

from gcsmux_fs.model.errors import NotFound, StatusCode, storage_error
from gcsmux_fs.storage.channels import root_certificates
from gcsmux_fs.storage.pb import pubsub_pb2, storage_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message

    from gcsmux_fs.storage.channels import ChannelSettings

__all__ = ["PubsubAdmin", "SubscriptionFacts"]

_PUBLISHER = "/google.pubsub.v1.Publisher"
_SUBSCRIBER = "/google.pubsub.v1.Subscriber"
_POLICIES = "/google.iam.v1.IAMPolicy"

# Policies of this version show conditions, so that a conditional grant is not taken for one without
# a condition.
_POLICY_VERSION = 3
# Two administrators can change a policy at the same time. The second one tries again.
_POLICY_ATTEMPTS = 5
_ATTEMPTS = 3
_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """The properties of a subscription that matter to a mount.

    Attributes:
        topic: the full name of the topic.
        retention_seconds: how long messages wait for a mount that is away.
        expiration_seconds: after this time without a mount the subscription is deleted; 0 for
            never.
        filter: an expression; messages that it does not match are dropped.
        dead_letter_topic: the topic that gets messages that were delivered several times.
        failed: whether Pub/Sub reports that the subscription cannot deliver.
    """

    topic: str
    ack_deadline_seconds: int = 0
    retention_seconds: int = 0
    expiration_seconds: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    filter: str = ""
    push_endpoint: str = ""
    dead_letter_topic: str = ""
    detached: bool = False
    exactly_once: bool = False
    failed: bool = False


class PubsubAdmin:
    """The administrative calls of Pub/Sub.

    Args:
        settings: how to connect.
        headers: the headers with the access token.
        seconds: time limit of one call.
    """

    def __init__(
        self,
        settings: ChannelSettings,
        headers: tuple[tuple[str, str], ...],
        *,
        seconds: float = 20.0,
    ) -> None:
        self._headers = headers
        self._seconds = seconds
        if settings.plaintext:
            options = [("grpc.enable_http_proxy", 0)]
            self._channel = grpc.insecure_channel(settings.endpoint, options)
        else:
            roots = root_certificates(settings.ca_file)
            self._channel = grpc.secure_channel(
                settings.endpoint, grpc.ssl_channel_credentials(roots)
            )

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def topic_labels(self, topic: str) -> dict[str, str] | None:
        """Return the labels of a topic; None if the topic does not exist.

        Raises:
            StorageError: the call failed. Each method below may raise it, too.
        """
        request = pubsub_pb2.GetTopicRequest(topic=topic)
        answer = pubsub_pb2.Topic()
        with suppress(NotFound):
            self._call(f"{_PUBLISHER}/GetTopic", request, answer, f"topic={topic}", topic)
            return dict(answer.labels)
        return None

    def create_topic(self, topic: str, labels: Mapping[str, str]) -> None:
        """Create a topic."""
        request = pubsub_pb2.Topic(name=topic, labels=labels)
        answer = pubsub_pb2.Topic()
        self._call(f"{_PUBLISHER}/CreateTopic", request, answer, f"name={topic}", topic)

    def delete_topic(self, topic: str) -> None:
        """Delete a topic. Its subscriptions stay, but get no more messages."""
        request = pubsub_pb2.DeleteTopicRequest(topic=topic)
        answer = empty_pb2.Empty()
        self._call(f"{_PUBLISHER}/DeleteTopic", request, answer, f"topic={topic}", topic)

    def topic_subscriptions(self, topic: str) -> tuple[str, ...]:
        """Return the full names of all subscriptions of a topic."""
        names: list[str] = []
        token = ""
        while True:
            request = pubsub_pb2.ListTopicSubscriptionsRequest(topic=topic, page_token=token)
            answer = pubsub_pb2.ListTopicSubscriptionsResponse()
            method = f"{_PUBLISHER}/ListTopicSubscriptions"
            self._call(method, request, answer, f"topic={topic}", topic)
            names += answer.subscriptions
            token = answer.next_page_token
            if not token:
                return tuple(names)

    def subscription(self, name: str) -> SubscriptionFacts | None:
        """Return the properties of a subscription; None if it does not exist."""
        request = pubsub_pb2.GetSubscriptionRequest(subscription=name)
        answer = pubsub_pb2.Subscription()
        method = f"{_SUBSCRIBER}/GetSubscription"
        with suppress(NotFound):
            self._call(method, request, answer, f"subscription={name}", name)
            return _facts(answer)
        return None

    def create_subscription(self, name: str, facts: SubscriptionFacts) -> None:
        """Create a subscription from which a mount pulls."""
        request = pubsub_pb2.Subscription(
            name=name,
            topic=facts.topic,
            ack_deadline_seconds=facts.ack_deadline_seconds,
            labels=facts.labels,
        )
        request.message_retention_duration.FromSeconds(facts.retention_seconds)
        request.expiration_policy.ttl.FromSeconds(facts.expiration_seconds)
        answer = pubsub_pb2.Subscription()
        self._call(f"{_SUBSCRIBER}/CreateSubscription", request, answer, f"name={name}", name)

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription and its messages."""
        request = pubsub_pb2.DeleteSubscriptionRequest(subscription=name)
        answer = empty_pb2.Empty()
        method = f"{_SUBSCRIBER}/DeleteSubscription"
        self._call(method, request, answer, f"subscription={name}", name)

    def oldest_message_time(self, name: str) -> float | None:
        """Return when a waiting message was published (Unix seconds); None if there is none.

        The message stays in the subscription: it is given back at once.
        """
        request = pubsub_pb2.PullRequest(subscription=name, return_immediately=True, max_messages=1)
        answer = pubsub_pb2.PullResponse()
        params = f"subscription={name}"
        self._call(f"{_SUBSCRIBER}/Pull", request, answer, params, name)
        if not answer.received_messages:
            return None
        given_back = pubsub_pb2.ModifyAckDeadlineRequest(
            subscription=name, ack_ids=[each.ack_id for each in answer.received_messages]
        )
        method = f"{_SUBSCRIBER}/ModifyAckDeadline"
        self._call(method, given_back, empty_pb2.Empty(), params, name)
        published = answer.received_messages[0].message.publish_time
        return float(published.seconds) + published.nanos / 1e9

    def members(self, resource: str, roles: Iterable[str]) -> frozenset[str]:
        """Return who has one of `roles` on a topic or a subscription without a condition."""
        wanted = set(roles)
        return frozenset(
            member
            for binding in self._policy(resource).bindings
            if binding.role in wanted and not binding.HasField("condition")
            for member in binding.members
        )

    def grant(self, resource: str, role: str, member: str) -> None:
        """Give a role on a topic or a subscription to a member."""
        for attempt in range(_POLICY_ATTEMPTS):
            policy = self._policy(resource)
            policy.version = max(policy.version, 1)
            policy.bindings.add(role=role, members=[member])
            request = pubsub_pb2.SetIamPolicyRequest(resource=resource, policy=policy)
            method = f"{_POLICIES}/SetIamPolicy"
            try:
                params = f"resource={resource}"
                self._call(method, request, pubsub_pb2.Policy(), params, resource)
            except Exception as error:
                code = getattr(error, "code", None)
                if code is not StatusCode.ABORTED or attempt == _POLICY_ATTEMPTS - 1:
                    raise
            else:
                return

    def allowed(self, resource: str, permissions: Iterable[str]) -> frozenset[str]:
        """Return which of `permissions` this caller has on a topic or a subscription."""
        request = storage_pb2.TestIamPermissionsRequest(
            resource=resource, permissions=list(permissions)
        )
        answer = storage_pb2.TestIamPermissionsResponse()
        method = f"{_POLICIES}/TestIamPermissions"
        self._call(method, request, answer, f"resource={resource}", resource)
        return frozenset(answer.permissions)

    def _policy(self, resource: str) -> pubsub_pb2.Policy:
        options = pubsub_pb2.GetPolicyOptions(requested_policy_version=_POLICY_VERSION)
        request = pubsub_pb2.GetIamPolicyRequest(resource=resource, options=options)
        answer = pubsub_pb2.Policy()
        method = f"{_POLICIES}/GetIamPolicy"
        self._call(method, request, answer, f"resource={resource}", resource)
        return answer

    def _call(
        self, method: str, request: Message, answer: Message, params: str, subject: str
    ) -> None:
        """Make a call and parse its answer; try again while the service cannot be reached."""
        start: Any = self._channel.unary_unary(method)
        headers = (("x-goog-request-params", params), *self._headers)
        for attempt in range(_ATTEMPTS):
            try:
                data = start(request.SerializeToString(), metadata=headers, timeout=self._seconds)
            except grpc.RpcError as error:
                code = StatusCode(error.code().value[0])
                if code is not StatusCode.UNAVAILABLE or attempt == _ATTEMPTS - 1:
                    message = (error.details() or code.name.lower()).rstrip(".")
                    raise storage_error(code, message, subject=subject) from None
                time.sleep(_RETRY_SECONDS)
            else:
                answer.ParseFromString(data)
                return


def _facts(answer: pubsub_pb2.Subscription) -> SubscriptionFacts:
    return SubscriptionFacts(
        topic=answer.topic,
        ack_deadline_seconds=answer.ack_deadline_seconds,
        retention_seconds=answer.message_retention_duration.seconds,
        expiration_seconds=answer.expiration_policy.ttl.seconds,
        labels=dict(answer.labels),
        filter=answer.filter,
        push_endpoint=answer.push_config.push_endpoint,
        dead_letter_topic=answer.dead_letter_policy.dead_letter_topic,
        detached=answer.detached,
        exactly_once=answer.enable_exactly_once_delivery,
        failed=answer.state == pubsub_pb2.Subscription.RESOURCE_ERROR,
    )
