"""The methods of google.iam.v1.IAMPolicy, for topics and subscriptions.

The emulator checks one permission only: a bucket's notifications need a topic to which the service
agent of Cloud Storage may publish.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.rpc_error import RpcError, not_found
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from gcsmux_fs.emulator.pubsub.topic_registry import (
        StoredSubscription,
        StoredTopic,
        TopicRegistry,
    )

__all__ = ["PROJECT_NUMBER", "PolicyService", "may_publish", "service_agent"]

# The number of every project of the emulator.
PROJECT_NUMBER = 123456789012

_PUBLISHER_ROLES = ("roles/pubsub.publisher", "roles/pubsub.editor", "roles/pubsub.admin")


def service_agent() -> str:
    """Return the address of the service agent of Cloud Storage, which publishes notifications."""
    return f"service-{PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com"


def may_publish(topic: StoredTopic) -> bool:
    """Return whether the policy of a topic lets the service agent publish."""
    member = f"serviceAccount:{service_agent()}"
    return any(
        binding.role in _PUBLISHER_ROLES and member in binding.members
        for binding in topic.policy.bindings
    )


class PolicyService:
    """Answers calls about the policies of topics and subscriptions."""

    def __init__(self, registry: TopicRegistry) -> None:
        self._registry = registry

    async def get_iam_policy(self, request: pubsub.GetIamPolicyRequest) -> pubsub.Policy:
        """Answer GetIamPolicy."""
        return self._stored(request.resource).policy

    async def set_iam_policy(self, request: pubsub.SetIamPolicyRequest) -> pubsub.Policy:
        """Answer SetIamPolicy. The etag in the request must be that of the current policy."""
        stored = self._stored(request.resource)
        if request.policy.etag and request.policy.etag != stored.policy.etag:
            raise RpcError(StatusCode.ABORTED, "The policy has changed: read it again.")
        policy = pubsub.Policy()
        policy.CopyFrom(request.policy)
        old_etag, policy.etag = stored.policy.etag, b""
        content = old_etag + policy.SerializeToString(deterministic=True)
        policy.etag = hashlib.blake2b(content, digest_size=8).digest()
        stored.policy.CopyFrom(policy)
        return stored.policy

    async def test_iam_permissions(
        self, request: pb.TestIamPermissionsRequest
    ) -> pb.TestIamPermissionsResponse:
        """Answer TestIamPermissions: every caller has every permission."""
        self._stored(request.resource)
        return pb.TestIamPermissionsResponse(permissions=request.permissions)

    def _stored(self, resource: str) -> StoredTopic | StoredSubscription:
        if "/topics/" in resource:
            return self._registry.topic(resource)
        if "/subscriptions/" in resource:
            return self._registry.subscription(resource)
        raise not_found(f"Resource not found (resource={resource}).")
