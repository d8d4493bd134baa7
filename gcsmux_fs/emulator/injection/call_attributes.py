"""Reads the attributes of a call, which rules can match, from its first message and headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gcsmux_fs.emulator.injection.fault_plan import CallAttributes
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["Headers", "call_attributes_of"]

Headers = Sequence[tuple[str, str | bytes]]

_BUCKETS = "projects/_/buckets/"


def call_attributes_of(method: str, request: Message, headers: Headers) -> CallAttributes:
    """Return the attributes of a call. `request` is the first message of the call."""
    bucket, name = ("", _resource(request)) if _of_pubsub(request) else _target(request)
    token = ""
    resumed = False
    if isinstance(request, pb.BidiReadObjectRequest):
        spec = request.read_object_spec
        token = spec.routing_token
        resumed = bool(spec.read_handle.handle)
    elif isinstance(request, pb.ListObjectsRequest | pb.ListBucketsRequest | pb.ListFoldersRequest):
        resumed = bool(request.page_token)
    return CallAttributes(
        method,
        # The resource name of a folder begins with the resource name of its bucket.
        bucket.removeprefix(_BUCKETS).partition("/")[0],
        name,
        resumed,
        token or _routing_parameter(headers, "routing_token"),
        _header(headers, "authorization"),
    )


def _target(request: Message) -> tuple[str, str]:
    """Return the bucket's resource name and the object name, prefix or folder path of a request."""
    match request:
        case pb.BidiReadObjectRequest():
            return request.read_object_spec.bucket, request.read_object_spec.object
        case pb.ReadObjectRequest() | pb.GetObjectRequest() | pb.DeleteObjectRequest():
            return request.bucket, request.object
        case pb.UpdateObjectRequest():
            return request.object.bucket, request.object.name
        case pb.MoveObjectRequest():
            return request.bucket, request.source_object
        case pb.RewriteObjectRequest():
            return request.source_bucket, request.source_object
        case pb.ComposeObjectRequest():
            return request.destination.bucket, request.destination.name
        case pb.ListObjectsRequest():
            return request.parent, request.prefix
        case pb.ListFoldersRequest():
            return request.parent, request.prefix
        case pb.CreateFolderRequest():
            return request.parent, request.folder_id
        case (
            pb.GetFolderRequest()
            | pb.DeleteFolderRequest()
            | pb.DeleteFolderRecursiveRequest()
            | pb.RenameFolderRequest()
        ):
            return request.name, request.name.partition("/folders/")[2]
        case pb.GetBucketRequest() | pb.DeleteBucketRequest() | pb.GetStorageLayoutRequest():
            return request.name, ""
        case pb.BidiWriteObjectRequest() if request.HasField("append_object_spec"):
            return request.append_object_spec.bucket, request.append_object_spec.object
        case (
            pb.WriteObjectRequest() | pb.BidiWriteObjectRequest() | pb.StartResumableWriteRequest()
        ):
            return (
                request.write_object_spec.resource.bucket,
                request.write_object_spec.resource.name,
            )
    return "", ""


def _of_pubsub(request: Message) -> bool:
    return request.DESCRIPTOR.file.package == pubsub.DESCRIPTOR.package


def _resource(request: Message) -> str:
    """Return the name of the topic or subscription that a request to Pub/Sub names."""
    for field in ("subscription", "topic", "name", "resource", "project"):
        value = getattr(request, field, "")
        if isinstance(value, str) and value:
            return value
    return ""


def _header(headers: Headers, name: str) -> str:
    value = next((value for key, value in headers if key == name), "")
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _routing_parameter(headers: Headers, name: str) -> str:
    """Return a parameter of the header `x-goog-request-params`.

    Some clients percent-encode the value, so the value is decoded.
    """
    pairs = (part.partition("=") for part in _header(headers, "x-goog-request-params").split("&"))
    return next((unquote(value) for key, _, value in pairs if key == name), "")
