"""Connects to the services that a route needs, and carries out the steps of a plan."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import InvalidRequest, PermissionDenied, StatusCode, StorageError
from gcsmux_fs.storage.blocking_token import fetch_headers
from gcsmux_fs.storage.credentials import CLOUD_SCOPE
from gcsmux_fs.storage.notification_configs import BucketNotifications
from gcsmux_fs.storage.pubsub_admin import PubsubAdmin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsmux_fs.notifications.route_steps import RouteStep
    from gcsmux_fs.notifications.route_survey import BucketCalls, PubsubCalls
    from gcsmux_fs.settings.service_address import ServiceAddress
    from gcsmux_fs.storage.channels import ChannelSettings

__all__ = ["carry_out", "open_services"]

# A new permission has an effect after some seconds, sometimes after minutes
# (https://cloud.google.com/iam/docs/access-change-propagation).
_PROPAGATION_SECONDS = 120.0
_PROPAGATION_PAUSE_SECONDS = 5.0
# The messages about a missing permission to publish differ, but they all name the service agent.
_AGENT_DOMAIN = "@gs-project-accounts."


@contextmanager
def open_services(
    settings: ChannelSettings, pubsub: ServiceAddress, json_address: str
) -> Iterator[tuple[PubsubAdmin, BucketNotifications]]:
    """Connect to Pub/Sub and to the JSON API with the same credentials.

    Raises:
        CredentialsError: there is no access token.
    """
    settings = replace(settings, scopes=(CLOUD_SCOPE,))
    headers = fetch_headers(settings)
    payer = settings.billing_project
    billing = (("x-goog-user-project", payer),) if payer else ()
    admin = PubsubAdmin(settings.for_pubsub(pubsub), () if pubsub.plaintext else headers)
    buckets = BucketNotifications(json_address, (*headers, *billing), settings.ca_file)
    try:
        yield admin, buckets
    finally:
        buckets.close()
        admin.close()


def carry_out(
    step: RouteStep,
    pubsub: PubsubCalls,
    buckets: BucketCalls,
    *,
    waiting: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Make the change of a step. A part that another process has made meanwhile is fine.

    Cloud Storage refuses a notification configuration until the permission to publish has an
    effect, so the call is repeated. `waiting` is called once, with the answer of the service.

    Raises:
        StorageError: a call failed.
    """
    assert step.action is not None
    left = _PROPAGATION_SECONDS
    while True:
        try:
            step.action(pubsub, buckets)
        except (InvalidRequest, PermissionDenied) as error:
            if _AGENT_DOMAIN not in error.message or left <= 0:
                raise
            if left == _PROPAGATION_SECONDS:
                waiting(error.message)
        except StorageError as error:
            if error.code is StatusCode.ALREADY_EXISTS:
                return
            raise
        else:
            return
        sleep(_PROPAGATION_PAUSE_SECONDS)
        left -= _PROPAGATION_PAUSE_SECONDS
