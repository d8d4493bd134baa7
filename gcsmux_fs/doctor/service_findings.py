"""Judges the answers of the service: the bucket, permissions, and measured reads; sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.doctor.checklist import Finding, failure, healthy, skipped, warning
from gcsmux_fs.model.errors import (
    DataCorruption,
    DeadlineExceeded,
    NotFound,
    PermissionDenied,
    StatusCode,
    StorageError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from gcsmux_fs.settings.units import rounded_duration, rounded_size
from gcsmux_fs.storage.tls_errors import handshake_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.model.values import BucketInfo, ListingPage, ObjectInfo

__all__ = [
    "RateSample",
    "Target",
    "billing_finding",
    "bucket_finding",
    "get_finding",
    "list_finding",
    "rate_finding",
    "round_trip_finding",
    "service_finding",
    "streams_finding",
]

# Parts of the messages of the service for a requester-pays bucket
# (https://cloud.google.com/storage/docs/requester-pays).
_NO_PROJECT = "requester pays"
_MAY_NOT_BILL = "serviceusage.services.use"
_ROLE = (
    "grant storage.objects.list and storage.objects.get (role Storage Object Viewer) on the bucket,"
    " or on a folder named by --only-dir"
)

# A round trip within a continent takes less than 80 ms, one between continents takes more.
_FAR_SECONDS = 0.1
# A program that reads at less than a fifth of a gigabit per second waits for the network.
_SLOW_BYTES_PER_SECOND = 25_000_000
# Below this size, the time of a sample is mostly the round trip.
_MIN_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """What is examined: the bucket, the prefix (empty or ends with /), and how to reach it."""

    bucket: str
    prefix: str
    endpoint: str
    plaintext: bool
    billing_project: str

    @property
    def address(self) -> str:
        """The address of the bucket."""
        return f"gs://{self.bucket}"


@dataclass(frozen=True, slots=True)
class RateSample:
    """Bytes read from one object in `seconds`; `complete` if nothing of the sample is missing."""

    received_bytes: int
    seconds: float
    complete: bool


def service_finding(answer: BucketInfo | StorageError, seconds: float, target: Target) -> Finding:
    """Judge the first call: whether the service answers, and accepts the credentials."""
    match answer:
        case Unauthenticated():
            return failure(
                f"the service refuses the credentials ({answer.message})",
                "check that the account still exists and its key is not revoked, then run `gcloud"
                " auth application-default login` or name a new key with --key-file",
            )
        case Unavailable():
            reason = handshake_failure(answer.message, plaintext=target.plaintext)
            if reason is not None:
                detail, _, remedy = reason.partition(": ")
                return failure(f"{target.endpoint} {detail}", remedy or "check the endpoint")
            if answer.code in (StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED):
                return failure(
                    f"{target.endpoint} accepts connections and does not answer calls",
                    "check that a Google Cloud Storage server listens there, and that no firewall"
                    " or proxy holds HTTP/2 back",
                )
            return failure(
                f"{target.endpoint} does not serve calls ({answer.message})",
                "wait and repeat the command; https://status.cloud.google.com shows outages",
            )
        case StorageError() if answer.code is StatusCode.UNKNOWN:
            return failure(
                f"{target.endpoint} does not speak gRPC ({answer.message})",
                "correct the endpoint, or let connections bypass the HTTP proxy",
            )
    return healthy(f"{target.endpoint} answers calls after {rounded_duration(seconds)}")


def billing_finding(answer: BucketInfo | StorageError, target: Target) -> Finding:
    """Judge which project pays for the requests."""
    message = answer.message if isinstance(answer, StorageError) else ""
    if _NO_PROJECT in message.lower():
        return failure(
            f"{target.address} is a requester-pays bucket, and no project is named to pay",
            "name one of your projects with --billing-project",
        )
    if _MAY_NOT_BILL in message:
        return failure(
            f"these credentials may not bill requests to {target.billing_project}",
            "grant serviceusage.services.use (role Service Usage Consumer) on this project",
        )
    if target.billing_project:
        return healthy(f"the project {target.billing_project} pays for requests")
    return healthy("the owner of the bucket pays for requests")


def bucket_finding(answer: BucketInfo | StorageError, target: Target) -> Finding:
    """Judge whether the bucket exists, and report its kind and its place."""
    match answer:
        case NotFound():
            return failure(f"there is no bucket {target.address}", "check the name of the bucket")
        case PermissionDenied():
            return warning(
                f"these credentials may not see the layout of {target.address}, so its folders"
                " may be missing in listings",
                _ROLE,
            )
        case Unsupported():
            return warning(
                "the service does not report the layout of a bucket, so the bucket counts as flat",
                "nothing is needed for an emulator; otherwise check the endpoint",
            )
        case StorageError():
            return failure(f"{target.address} cannot be examined ({answer})", "check the endpoint")
    kind = "zonal" if answer.location_type == "zone" else answer.location_type or "of unknown kind"
    structure = "hierarchical" if answer.hierarchical else "flat"
    place = f" in {answer.location}" if answer.location else ""
    return healthy(f"{target.address} exists{place}, {kind}, {structure}")


def list_finding(page: ListingPage | StorageError, seconds: float, target: Target) -> Finding:
    """Judge the first page of a listing of the prefix."""
    shown = f"{target.address}/{target.prefix}" if target.prefix else target.address
    match page:
        case NotFound():
            return failure(f"there is no bucket {target.address}", "check the name of the bucket")
        case PermissionDenied():
            return warning(
                f"these credentials may not list {shown}, so only objects whose names are known can"
                " be read",
                _ROLE,
            )
        case StorageError():
            return failure(f"{shown} cannot be listed ({page})", "repeat the command")
    if not page.objects:
        return warning(
            f"{shown} contains no objects",
            "check the prefix" if target.prefix else "check that this is the bucket you mean",
        )
    number = len(page.objects)
    count = f"{number:,} or more" if page.next_page_token else f"{number:,}"
    noun = "object" if count == "1" else "objects"
    return healthy(f"{count} {noun}, first page after {rounded_duration(seconds)}")


def get_finding(answer: ObjectInfo | StorageError | bool, name: str, target: Target) -> Finding:
    """Judge the permission to read.

    `answer` is the metadata of the object `name`, or the error of the request. If there is no
    object to ask for, `answer` says whether the service grants the permission.
    """
    denied = f"these credentials may not read objects in {target.address}"
    match answer:
        case True:
            return healthy("these credentials may read objects")
        case False:
            return failure(denied, _ROLE)
        case NotFound():
            return failure(
                f"there is no object {name!r} in {target.address}",
                "write its name with --object as in a listing, without gs:// and bucket",
            )
        case PermissionDenied():
            return failure(f"{denied} ({answer.message})", _ROLE)
        case StorageError():
            return failure(f"{name!r} cannot be examined ({answer})", "repeat the command")
    return healthy(f"these credentials may read {name!r} ({rounded_size(answer.size)})")


def read_failure(error: StorageError, name: str) -> Finding:
    """Judge the failure of a read of the object `name`."""
    match error:
        case PermissionDenied():
            return failure(f"these credentials may not read {name!r} ({error.message})", _ROLE)
        case NotFound():
            return failure(f"{name!r} was deleted or overwritten during the check", "repeat it")
        case DataCorruption():
            return failure(
                f"the bytes of {name!r} arrive damaged ({error.message})",
                "let connections to the service bypass proxies; check the memory of this machine",
            )
        case DeadlineExceeded():
            return failure(
                f"{name!r} is not delivered in time ({error.message})",
                "repeat the command; if the answer is only slow, raise the limit with --timeout",
            )
    return failure(f"{name!r} cannot be read ({error})", "repeat the command")


def streams_finding(first_byte: float | StorageError, missing: str, name: str) -> Finding:
    """Judge how bytes are read.

    Args:
        first_byte: seconds from the opening of the stream to the first byte, or the error.
        missing: why BidiReadObject is missing; empty if it is available.
        name: the object that was read.
    """
    if isinstance(first_byte, StorageError):
        return read_failure(first_byte, name)
    if missing:
        return warning(
            f"BidiReadObject is unavailable ({missing}), so each range is one ReadObject call",
            "let connections bypass proxies that do not pass bidirectional streams; a server that"
            " lacks BidiReadObject needs no action",
        )
    return healthy(f"BidiReadObject is available, first byte after {rounded_duration(first_byte)}")


def round_trip_finding(seconds: Sequence[float] | StorageError, name: str) -> Finding:
    """Judge the round-trip times of reads of one byte, in seconds."""
    if isinstance(seconds, StorageError):
        return read_failure(seconds, name)
    median = sorted(seconds)[len(seconds) // 2]
    detail = f"one byte takes {rounded_duration(median)} (median of {len(seconds)})"
    if median <= _FAR_SECONDS:
        return healthy(detail)
    return warning(
        f"{detail}, so the bucket is far away or the network is busy",
        "use a bucket in the region of this machine; otherwise raise --read-ahead and --memory",
    )


def rate_finding(sample: RateSample | StorageError, name: str) -> Finding:
    """Judge the rate of a sample of the object `name`."""
    if isinstance(sample, StorageError):
        return read_failure(sample, name)
    amount, duration = rounded_size(sample.received_bytes), rounded_duration(sample.seconds)
    if sample.complete and sample.received_bytes < _MIN_SAMPLE_BYTES:
        return skipped(
            f"{name!r} has only {amount}: name an object of at least 64 MiB with --object"
        )
    rate = sample.received_bytes / max(sample.seconds, 1e-6)
    detail = f"{rounded_size(rate)}/s on one stream ({amount} of {name!r} in {duration})"
    if rate >= _SLOW_BYTES_PER_SECOND:
        return healthy(detail)
    return warning(
        detail, "check the bandwidth of this machine, and use a bucket in the same region"
    )
