"""All of Pub/Sub in one emulator: the state, and the gRPC handlers by service and method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.emulator.pubsub.change_subscription import set_up_subscription
from gcsmux_fs.emulator.pubsub.configured_notifications import ConfiguredNotifications
from gcsmux_fs.emulator.pubsub.delivery_log import DeliveryLog
from gcsmux_fs.emulator.pubsub.file_watch import FileWatch
from gcsmux_fs.emulator.pubsub.json_api import JsonApi
from gcsmux_fs.emulator.pubsub.object_notifier import ObjectNotifier
from gcsmux_fs.emulator.pubsub.policy_service import PolicyService
from gcsmux_fs.emulator.pubsub.publisher_service import PublisherService
from gcsmux_fs.emulator.pubsub.pubsub_control import PubsubControl
from gcsmux_fs.emulator.pubsub.subscriber_service import SubscriberService
from gcsmux_fs.emulator.pubsub.topic_registry import TopicRegistry
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    import grpc

    from gcsmux_fs.emulator.access_tokens import AccessTokens
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.store import BucketStore
    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
    from gcsmux_fs.emulator.services.method_handlers import MethodHandlers

    _Methods = dict[str, grpc.RpcMethodHandler[bytes, bytes]]

__all__ = ["PubsubMethods"]


class PubsubMethods:
    """The state of Pub/Sub, and its methods."""

    def __init__(
        self,
        store: BucketStore,
        checksums: Checksums,
        orders: FaultOrders,
        handlers: MethodHandlers,
        tokens: AccessTokens,
    ) -> None:
        self._registry = registry = TopicRegistry()
        self._configs = configs = ConfiguredNotifications()
        self._handlers = handlers
        log = DeliveryLog()
        ObjectNotifier(store, checksums, configs, registry)
        self.files = FileWatch(store, configs.any_of)
        configs.listeners.append(self.files.watch)
        self._publisher = PublisherService(registry)
        self._subscriber = SubscriberService(registry, orders, log)
        self._policy = PolicyService(registry)
        self._control = PubsubControl(registry, configs, log)
        self.json = JsonApi(store, registry, configs, tokens)

    def subscribe(self, subscription: str, bucket: str) -> None:
        """Create a subscription that receives all changes of a bucket.

        Raises:
            RpcError: the name is not valid (INVALID_ARGUMENT).
        """
        set_up_subscription(self._registry, self._configs, subscription, bucket)

    def services(self) -> dict[str, _Methods]:
        """Return the methods of each service."""
        return {
            "google.pubsub.v1.Publisher": self._publisher_methods(),
            "google.pubsub.v1.Subscriber": self._subscriber_methods(),
            "google.iam.v1.IAMPolicy": self._policy_methods(),
        }

    def control_methods(self) -> _Methods:
        """Return the methods of the control service for Pub/Sub."""
        raw, control = self._handlers.raw, self._control
        return dict(
            (
                raw("Subscribe", control.subscribe),
                raw("Unsubscribe", control.unsubscribe),
                raw("Subscriptions", control.subscriptions),
                raw("Deliveries", control.deliveries),
            )
        )

    def _publisher_methods(self) -> _Methods:
        unary, publisher = self._handlers.unary, self._publisher
        return dict(
            (
                unary("CreateTopic", pubsub.Topic, publisher.create_topic),
                unary("UpdateTopic", pubsub.UpdateTopicRequest, publisher.update_topic),
                unary("Publish", pubsub.PublishRequest, publisher.publish),
                unary("GetTopic", pubsub.GetTopicRequest, publisher.get_topic),
                unary("ListTopics", pubsub.ListTopicsRequest, publisher.list_topics),
                unary(
                    "ListTopicSubscriptions",
                    pubsub.ListTopicSubscriptionsRequest,
                    publisher.list_topic_subscriptions,
                ),
                unary("DeleteTopic", pubsub.DeleteTopicRequest, publisher.delete_topic),
            )
        )

    def _subscriber_methods(self) -> _Methods:
        unary, subscriber = self._handlers.unary, self._subscriber
        return dict(
            (
                unary("CreateSubscription", pubsub.Subscription, subscriber.create_subscription),
                unary(
                    "GetSubscription", pubsub.GetSubscriptionRequest, subscriber.get_subscription
                ),
                unary(
                    "UpdateSubscription",
                    pubsub.UpdateSubscriptionRequest,
                    subscriber.update_subscription,
                ),
                unary(
                    "ListSubscriptions",
                    pubsub.ListSubscriptionsRequest,
                    subscriber.list_subscriptions,
                ),
                unary(
                    "DeleteSubscription",
                    pubsub.DeleteSubscriptionRequest,
                    subscriber.delete_subscription,
                ),
                unary("Pull", pubsub.PullRequest, subscriber.pull),
                self._handlers.streaming(
                    "StreamingPull",
                    pubsub.StreamingPullRequest,
                    subscriber.streaming_pull,
                    subscriber.check_first,
                ),
                unary("Acknowledge", pubsub.AcknowledgeRequest, subscriber.acknowledge),
                unary(
                    "ModifyAckDeadline",
                    pubsub.ModifyAckDeadlineRequest,
                    subscriber.modify_ack_deadline,
                ),
                unary("Seek", pubsub.SeekRequest, subscriber.seek),
            )
        )

    def _policy_methods(self) -> _Methods:
        unary, policy = self._handlers.unary, self._policy
        return dict(
            (
                unary("GetIamPolicy", pubsub.GetIamPolicyRequest, policy.get_iam_policy),
                unary("SetIamPolicy", pubsub.SetIamPolicyRequest, policy.set_iam_policy),
                unary(
                    "TestIamPermissions",
                    pb.TestIamPermissionsRequest,
                    policy.test_iam_permissions,
                ),
            )
        )
