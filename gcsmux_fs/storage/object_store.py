"""Implements `ObjectStore`: the unary calls on one bucket."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import DecodeError

from gcsmux_fs.model.errors import NotFound, PermissionDenied, Unauthenticated, Unsupported
from gcsmux_fs.model.values import BucketInfo, ListingPage, ObjectInfo
from gcsmux_fs.storage.channels import ChannelSettings, request_headers
from gcsmux_fs.storage.codec import bucket_path, decode_object
from gcsmux_fs.storage.listing_decoder import decode_listing
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.unary_calls import UnaryCaller, UnaryPolicy
from gcsmux_fs.storage.version_decoder import decode_retention, decode_versions

if TYPE_CHECKING:
    from random import Random

    import grpc.aio

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.object_versions import BucketRetention, VersionPage
    from gcsmux_fs.model.retry_budget import RetryBudget
    from gcsmux_fs.storage.billing import BilledRequests
    from gcsmux_fs.storage.connections import Connections
    from gcsmux_fs.storage.request_outcomes import RequestOutcomes
    from gcsmux_fs.storage.tokens import Tokens

__all__ = ["GrpcObjectStore"]

_SERVICE = "/google.storage.v2.Storage/"
_CONTROL = "/google.storage.control.v2.StorageControl/"
_READ_PERMISSION = "storage.objects.get"
_ANY_NAME = "/"


class GrpcObjectStore:
    """Unary calls on one bucket.

    Args:
        connections: the connections that carry these calls and no others.
        settings: the settings of the channels of `connections`.
        bucket: the plain name of the bucket.
        policy: deadlines and backoff.
        random: source of jitter.
        hierarchical: whether the bucket has a hierarchical namespace. If so, listings include its
            folders.
        retries: limits the retries of all calls of the mount.
        tokens: adds an access token to each call; None if calls need no token.
        billed: the counters to which the calls are added.
        outcomes: counts the calls by their status.
    """

    def __init__(
        self,
        connections: Connections[grpc.aio.Channel],
        settings: ChannelSettings,
        bucket: str,
        *,
        policy: UnaryPolicy,
        random: Random,
        hierarchical: bool = False,
        retries: RetryBudget | None = None,
        tokens: Tokens | None = None,
        billed: BilledRequests | None = None,
        outcomes: RequestOutcomes | None = None,
    ) -> None:
        self._bucket = bucket
        self._path = bucket_path(bucket)
        self._hierarchical = hierarchical
        self._caller = UnaryCaller(
            connections,
            request_headers(settings, self._path, ""),
            policy=policy,
            random=random,
            retries=retries,
            tokens=tokens,
            billed=billed,
            outcomes=outcomes,
        )

    @property
    def requests(self) -> int:
        """Number of attempts of all unary calls so far, including retries."""
        return self._caller.requests

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of unary calls."""
        self._caller.declare_metrics(registry)

    async def get_bucket(self, prefix: str = "") -> BucketInfo:
        """Return the layout of the bucket.

        The call needs permission to list the bucket, or to list the names that begin with `prefix`.
        If the service refuses the call or does not offer it, the bucket counts as flat. Only a
        later listing then shows whether the bucket exists.
        """
        try:
            return await self.get_layout(prefix)
        except Unauthenticated:
            raise
        except (PermissionDenied, Unsupported):
            return BucketInfo(self._bucket)

    async def get_layout(self, prefix: str = "") -> BucketInfo:
        """Like `get_bucket`, but raise the error if the service refuses the call."""
        layout = await self._caller.call(
            f"{_CONTROL}GetStorageLayout",
            pb.GetStorageLayoutRequest(name=f"{self._path}/storageLayout", prefix=prefix),
            partial(_parse_layout, self._bucket),
            subject=f"bucket {self._bucket}",
        )
        return BucketInfo(
            self._bucket,
            layout.location_type,
            layout.hierarchical_namespace.enabled,
            location=layout.location,
        )

    async def may_read(self, prefix: str) -> bool:
        """Return whether the caller may read objects whose names begin with `prefix`.

        Every caller may call TestIamPermissions. If the server does not offer this method
        (emulators may lack it), a request for one object shows whether the caller may read.
        """
        resources = [self._path, f"{self._path}/objects/{prefix}"]
        for resource in resources[: 2 if prefix else 1]:
            try:
                granted = await self._caller.call(
                    f"{_SERVICE}TestIamPermissions",
                    pb.TestIamPermissionsRequest(resource=resource, permissions=[_READ_PERMISSION]),
                    pb.TestIamPermissionsResponse.FromString,
                    subject=f"permissions of {resource}",
                )
            except Unsupported:
                return await self._may_look_up(prefix or _ANY_NAME)
            except Unauthenticated:
                raise
            except (NotFound, PermissionDenied):
                continue
            if _READ_PERMISSION in granted.permissions:
                return True
        return False

    async def _may_look_up(self, name: str) -> bool:
        """Return False if the service refuses permission to look this object up, otherwise True."""
        try:
            await self.get_object(name)
        except NotFound:
            return True
        except PermissionDenied:
            return False
        return True

    async def get_object(self, name: str, generation: int = 0) -> ObjectInfo:
        """Return one object (see `ObjectStore.get_object`)."""
        message = await self._caller.call(
            f"{_SERVICE}GetObject",
            pb.GetObjectRequest(bucket=self._path, object=name, generation=generation),
            partial(_parse_object, name),
            subject=f"gs://{self._bucket}/{name!r}",
        )
        return decode_object(message)

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        page_token: str = "",
        page_size: int = 1000,
        start_at: str = "",
        end_before: str = "",
    ) -> ListingPage:
        """Return one page of a listing (see `ObjectStore.list_objects`)."""
        request = pb.ListObjectsRequest(
            prefix=prefix,
            delimiter=delimiter,
            page_token=page_token,
            page_size=page_size,
            lexicographic_start=start_at,
            lexicographic_end=end_before,
            include_folders_as_prefixes=bool(delimiter) and self._hierarchical,
        )
        return decode_listing(await self._list(request))

    async def list_versions(
        self,
        prefix: str,
        *,
        soft_deleted: bool = False,
        delimiter: str = "",
        page_token: str = "",
        page_size: int = 1000,
        start_at: str = "",
        end_before: str = "",
    ) -> VersionPage:
        """Return one page of a listing of generations; the arguments are as for `list_objects`.

        The page has the live and the noncurrent generations, or only the soft-deleted ones if
        `soft_deleted` is true. Folders of a hierarchical namespace without objects are left out.
        """
        request = pb.ListObjectsRequest(
            prefix=prefix,
            versions=not soft_deleted,
            soft_deleted=soft_deleted,
            delimiter=delimiter,
            page_token=page_token,
            page_size=page_size,
            lexicographic_start=start_at,
            lexicographic_end=end_before,
        )
        return decode_versions(await self._list(request))

    async def _list(self, request: pb.ListObjectsRequest) -> pb.ListObjectsResponse:
        request.parent = self._path
        request.include_trailing_delimiter = bool(request.delimiter)
        return await self._caller.call(
            f"{_SERVICE}ListObjects",
            request,
            pb.ListObjectsResponse.FromString,
            subject=f"listing of gs://{self._bucket}/{request.prefix!r}",
        )

    async def get_retention(self) -> BucketRetention:
        """Return which old generations the bucket keeps.

        Raises:
            PermissionDenied: the caller may not read the settings of the bucket
                (storage.buckets.get).
        """
        mask = FieldMask(paths=["versioning", "soft_delete_policy"])
        return decode_retention(
            await self._caller.call(
                f"{_SERVICE}GetBucket",
                pb.GetBucketRequest(name=self._path, read_mask=mask),
                pb.Bucket.FromString,
                subject=f"bucket {self._bucket}",
            )
        )


def _parse_object(name: str, data: bytes) -> pb.Object:
    """Parse the answer to GetObject. An empty answer is valid protobuf, but names no object.

    Raises:
        DecodeError: the answer is malformed, or describes another object.
    """
    message = pb.Object.FromString(data)
    if message.name != name:
        raise DecodeError(f"it describes the object {message.name!r}")
    return message


def _parse_layout(bucket: str, data: bytes) -> pb.StorageLayout:
    """Parse the answer to GetStorageLayout. The answer may omit the name of the bucket.

    Raises:
        DecodeError: the answer is malformed, empty, or describes another bucket.
    """
    message = pb.StorageLayout.FromString(data)
    if not data:
        raise DecodeError("it is empty")
    if message.name and not message.name.endswith(f"/buckets/{bucket}/storageLayout"):
        raise DecodeError(f"it describes {message.name!r}")
    return message
