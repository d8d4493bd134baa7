"""The look at the bucket before anything is mounted: is it there, and what may the caller do?"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import (
    ConfigError,
    NotFound,
    PermissionDenied,
    StatusCode,
    StorageError,
    Unauthenticated,
    Unavailable,
)
from gcsmux_fs.settings.bucket_address import empty_folder_warning
from gcsmux_fs.storage.channels import renewal_failure
from gcsmux_fs.storage.tls_errors import handshake_failure

if TYPE_CHECKING:
    from gcsmux_fs.model.values import BucketInfo, ListingPage
    from gcsmux_fs.process.readiness import ReadinessReporter
    from gcsmux_fs.settings.settings import Settings
    from gcsmux_fs.storage.unary_calls import GrpcObjectStore

__all__ = ["check_bucket"]

log = logging.getLogger(__name__)

# How calls end that no server has answered, as far as can be told.
_UNANSWERED = frozenset(
    {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED}
)


async def check_bucket(
    store: GrpcObjectStore, settings: Settings, reporter: ReadinessReporter
) -> BucketInfo:
    """Find out now, not at the first `ls`, whether the bucket can be read.

    Raises:
        ConfigError: it cannot; the message is one sentence for the user.
    """
    bucket = f"gs://{settings.bucket}"
    try:
        info = await store.get_bucket(settings.prefix)
        page = await _first_page(store, settings.prefix)
    except NotFound:
        raise ConfigError(f"there is no bucket {bucket}: check its name.") from None
    except Unauthenticated as error:
        raise ConfigError(f"{bucket} wants other credentials: {error.message}.") from None
    except PermissionDenied as error:
        raise ConfigError(
            f"no permission to read {bucket} ({error.message}): it takes storage.objects.list and"
            " storage.objects.get, as in the role Storage Object Viewer, for all of it or for a"
            " folder that --only-dir names."
        ) from None
    except Unavailable as error:
        if (reason := renewal_failure(error.message)) is not None:
            raise ConfigError(f"the credentials cannot be renewed: {reason}.") from None
        reason = handshake_failure(error.message, plaintext=settings.plaintext)
        if reason is not None:
            raise ConfigError(f"{settings.endpoint} {reason}.") from None
        if error.code in _UNANSWERED:
            said = f"does not answer: {error.message}"
        else:
            said = f"answers, but does not serve {bucket}: {error}"
        raise ConfigError(f"the service at {settings.endpoint} {said}.") from None
    except StorageError as error:
        raise ConfigError(f"{bucket} cannot be read from {settings.endpoint}: {error}.") from None
    if page is None:
        info = replace(info, listable=False)
        odd = (
            f"the service refuses to list {settings.source}: only objects whose names are known"
            " can be read."
        )
        log.warning("%s", odd)
        reporter.warn(odd)
    elif settings.prefix and not page.objects and not page.prefixes:
        is_object = await _is_object(store, settings.prefix.removesuffix("/"))
        odd = empty_folder_warning(settings.bucket, settings.prefix, is_object=is_object)
        log.warning("%s", odd)
        reporter.warn(odd)
    log.info("bucket %s: %s, hierarchical: %s", bucket, info.location_type, info.hierarchical)
    return info


async def _is_object(store: GrpcObjectStore, name: str) -> bool:
    """Tell whether there is such an object, as far as this user may know."""
    try:
        return bool(name) and bool(await store.get_object(name))
    except StorageError:
        return False


async def _first_page(store: GrpcObjectStore, prefix: str) -> ListingPage | None:
    """Return the beginning of a listing, or None for a caller who may read but not list.

    Raises:
        PermissionDenied: the caller may do neither.
    """
    try:
        return await store.list_objects(prefix, page_size=1)
    except Unauthenticated:
        raise
    except PermissionDenied:
        if await store.may_read(prefix):
            return None
        raise
