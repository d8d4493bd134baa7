"""What `gcsmux doctor` examines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.settings.defaults import DEFAULT_MEMORY_BYTES
from gcsmux_fs.settings.service_address import ServiceAddress

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.settings.cache_options import CacheOptions
    from gcsmux_fs.settings.subscription_name import SubscriptionName
    from gcsmux_fs.storage.channels import ChannelSettings

__all__ = ["Subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined.

    Attributes:
        settings: how to reach the service.
        bucket: the plain name of the bucket.
        prefix: the folder that would be mounted; empty, or ends with `/`.
        mountpoint: where the bucket would be mounted; None if this is not examined.
        object_name: the object to read; empty to choose the largest of the first listing page.
        check_seconds: time limit of each check.
        allow_other: whether other users must be able to use the mount.
        memory_bytes: the memory budget of the mount.
        cache: the cache on disk; None if there is none.
        changes: the subscription that tells the changes of the bucket; None if there is none.
        pubsub: how to reach Pub/Sub.
        json_address: the start of the URLs of the JSON API; empty if it is not known.
    """

    settings: ChannelSettings
    bucket: str
    prefix: str = ""
    mountpoint: Path | None = None
    object_name: str = ""
    check_seconds: float = 10.0
    allow_other: bool = False
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    cache: CacheOptions | None = None
    changes: SubscriptionName | None = None
    pubsub: ServiceAddress = field(default_factory=ServiceAddress)
    json_address: str = ""

    @property
    def call_seconds(self) -> float:
        """Time limit of the calls of a check.

        The limit is lower than that of the check, so that the errors of the calls arrive first,
        because they name the cause.
        """
        return self.check_seconds * 0.8
