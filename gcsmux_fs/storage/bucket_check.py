"""Checks before the mount whether the bucket exists, and what the caller may do in it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import (
    ConfigError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    StatusCode,
    StorageError,
    TransientError,
    Unauthenticated,
    Unavailable,
)
from gcsmux_fs.settings.bucket_address import empty_folder_warning
from gcsmux_fs.storage.tls_errors import handshake_failure

if TYPE_CHECKING:
    from gcsmux_fs.model.values import BucketInfo, ListingPage
    from gcsmux_fs.settings.settings import Settings
    from gcsmux_fs.storage.object_store import GrpcObjectStore

__all__ = ["CheckedBucket", "check_bucket"]

log = logging.getLogger(__name__)

# Statuses of a call that got no answer from a server.
_UNANSWERED = frozenset(
    {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED}
)


@dataclass(frozen=True, slots=True)
class CheckedBucket:
    """A bucket that can be read; `warning` is a sentence for the user, or empty."""

    info: BucketInfo
    warning: str = ""


async def check_bucket(store: GrpcObjectStore, settings: Settings) -> CheckedBucket:
    """Check that the bucket can be read, so that a mistake shows at once and not at the first `ls`.

    Raises:
        TransientError: the service cannot be reached now.
        ConfigError: the bucket cannot be read. The message is a sentence for the user.
    """
    try:
        info = await store.get_bucket(settings.prefix)
        page = await _first_page(store, settings.prefix)
    except StorageError as error:
        kind = TransientError if isinstance(error, Unavailable) else ConfigError
        raise kind(_explain(error, settings)) from None
    log.info(
        "bucket gs://%s: %s, %s",
        settings.bucket,
        info.location_type,
        "hierarchical" if info.hierarchical else "flat",
    )
    if page is None:
        return CheckedBucket(
            replace(info, listable=False),
            f"the service refuses to list {settings.source}: only objects whose names are known"
            " can be read.",
        )
    if settings.prefix and not page.objects and not page.prefixes:
        is_object = await _is_object(store, settings.prefix.removesuffix("/"))
        warning = empty_folder_warning(settings.bucket, settings.prefix, is_object=is_object)
        return CheckedBucket(info, warning)
    return CheckedBucket(info)


def _explain(error: StorageError, settings: Settings) -> str:
    """Return the sentence that tells the user why the bucket cannot be read."""
    bucket, endpoint = f"gs://{settings.bucket}", settings.endpoint
    match error:
        case NotFound():
            return f"there is no bucket {bucket}: check its name."
        case Unauthenticated():
            return f"{bucket} refuses these credentials: {error.message}."
        case PermissionDenied():
            return (
                f"no permission to read {bucket} ({error.message}): grant storage.objects.list and"
                " storage.objects.get (role Storage Object Viewer) on the bucket, or on a folder"
                " named by --only-dir."
            )
        case InvalidRequest() if "requester pays" in error.message.lower():
            return (
                f"{bucket} is a requester-pays bucket: name the project that pays with"
                " --billing-project."
            )
        case Unavailable():
            reason = handshake_failure(error.message, plaintext=settings.plaintext)
            if reason is not None:
                return f"{endpoint} {reason}."
            if error.code in _UNANSWERED:
                return (
                    f"the service at {endpoint} does not answer: {error.message}: run `gcsmux"
                    " doctor` with the same bucket and options to find the cause."
                )
            return f"the service at {endpoint} answers, but does not serve {bucket}: {error}."
    return f"{bucket} cannot be read from {endpoint}: {error}."


async def _is_object(store: GrpcObjectStore, name: str) -> bool:
    """Return whether an object of this name exists; False if the request fails."""
    try:
        return bool(name) and bool(await store.get_object(name))
    except StorageError:
        return False


async def _first_page(store: GrpcObjectStore, prefix: str) -> ListingPage | None:
    """Return the first page of a listing; None if the caller may read objects, but not list them.

    Raises:
        PermissionDenied: the caller may neither read nor list objects.
    """
    try:
        return await store.list_objects(prefix, page_size=1)
    except Unauthenticated:
        raise
    except PermissionDenied:
        if await store.may_read(prefix):
            return None
        raise
