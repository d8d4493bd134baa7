"""Methods of StorageControl: folders of hierarchical buckets, storage layouts, and operations.

RenameFolder and DeleteFolderRecursive return operations of google.longrunning. These operations are
already done when the call returns. GetOperation returns the same operations again until the
emulator stops.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING

from cachetools import LRUCache
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from gcsmux_fs.emulator.buckets.folders import StoredFolder, check_folder_path
from gcsmux_fs.emulator.buckets.listing_pages import Position, Query
from gcsmux_fs.emulator.buckets.object_names import bucket_of, folder_of
from gcsmux_fs.emulator.buckets.preconditions import check_condition
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.emulator.service_limits import MAX_PAGE_ENTRIES
from gcsmux_fs.emulator.services.resources import timestamp
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.preconditions import Preconditions
    from gcsmux_fs.emulator.buckets.store import BucketStore

__all__ = ["FolderService"]

_LAYOUT_SUFFIX = "/storageLayout"
_CONTROL_TYPES = "type.googleapis.com/google.storage.control.v2."
_EMPTY_TYPE = "type.googleapis.com/google.protobuf.Empty"
# Maximum number of operations kept for GetOperation. They take about a megabyte. A larger number is
# not necessary, because clients request only recent operations.
_MAX_STORED_OPERATIONS = 1000
_DONE_PERCENT = 100


class FolderService:
    """Answers calls about folders, storage layouts and operations."""

    def __init__(self, store: BucketStore) -> None:
        self._store = store
        self._operations: LRUCache[str, pb.Operation] = LRUCache(_MAX_STORED_OPERATIONS)

    async def get_storage_layout(self, request: pb.GetStorageLayoutRequest) -> pb.StorageLayout:
        """Answer GetStorageLayout, for flat and hierarchical buckets."""
        if not request.name.endswith(_LAYOUT_SUFFIX):
            raise invalid(f"{request.name!r} is not the resource name of a storage layout.")
        bucket = self._store.bucket(bucket_of(request.name.removesuffix(_LAYOUT_SUFFIX)))
        placement = bucket.placement
        return pb.StorageLayout(
            name=request.name,
            location=placement.location,
            location_type=placement.location_type,
            custom_placement_config=pb.StorageLayout.CustomPlacementConfig(
                data_locations=placement.data_locations
            )
            if placement.data_locations
            else None,
            hierarchical_namespace=pb.StorageLayout.HierarchicalNamespace(
                enabled=placement.hierarchical
            ),
        )

    async def get_folder(self, request: pb.GetFolderRequest) -> pb.Folder:
        """Answer GetFolder: return the metadata of a folder."""
        bucket, folder = self._find(request.name, request, StatusCode.ABORTED)
        return _folder_resource(bucket, folder)

    async def list_folders(self, request: pb.ListFoldersRequest) -> pb.ListFoldersResponse:
        """Answer ListFolders: return one page of folders."""
        bucket = self._hierarchical(bucket_of(request.parent))
        if request.page_size < 0:
            raise invalid(f"page_size is negative: {request.page_size}.")
        if request.delimiter not in ("", "/"):
            raise invalid(
                f"ListFolders supports only the delimiter '/', not {request.delimiter!r}."
            )
        if request.prefix:
            check_folder_path(request.prefix)
        query = Query(
            request.prefix,
            request.delimiter,
            request.lexicographic_start,
            request.lexicographic_end,
        )
        page = bucket.folders.page(
            query,
            Position.parse(request.page_token, query),
            min(request.page_size or MAX_PAGE_ENTRIES, MAX_PAGE_ENTRIES),
        )
        return pb.ListFoldersResponse(
            folders=map(partial(_folder_resource, bucket), page.folders),
            next_page_token=page.following.token(query) if page.following else "",
        )

    async def create_folder(self, request: pb.CreateFolderRequest) -> pb.Folder:
        """Answer CreateFolder: create a folder in a hierarchical bucket."""
        bucket = self._hierarchical(bucket_of(request.parent))
        if request.folder.name:
            raise invalid("Set the field folder_id, and leave the field folder.name empty.")
        folder = bucket.folders.create(request.folder_id, recursive=request.recursive)
        return _folder_resource(bucket, folder)

    async def delete_folder(self, request: pb.DeleteFolderRequest) -> Empty:
        """Answer DeleteFolder: remove an empty folder."""
        bucket, folder = self._find(request.name, request)
        bucket.folders.delete(folder.path)
        return Empty()

    async def delete_folder_recursive(
        self, request: pb.DeleteFolderRecursiveRequest
    ) -> pb.Operation:
        """Answer DeleteFolderRecursive: remove a folder, and all objects and folders in it."""
        bucket, folder = self._find(request.name, request)
        start_time = _now()
        bucket.delete_folder(folder.path)
        metadata = pb.DeleteFolderRecursiveMetadata(
            common_metadata=_common_metadata("delete-folder-recursive", start_time),
            folder_id=folder.path,
        )
        return self._operation(
            bucket, _any_of(metadata), Any(type_url=_EMPTY_TYPE, value=Empty().SerializeToString())
        )

    async def rename_folder(self, request: pb.RenameFolderRequest) -> pb.Operation:
        """Answer RenameFolder: rename a folder and all names in it."""
        bucket, folder = self._find(request.name, request)
        start_time = _now()
        names = bucket.names_below(folder.path)
        renamed = bucket.folders.rename(folder.path, request.destination_folder_id)
        # It is not known which events the service publishes for the objects: publish none.
        for name in (*names, *bucket.names_below(renamed.path)):
            for listener in self._store.silent_listeners:
                listener(bucket.name, name)
        metadata = pb.RenameFolderMetadata(
            common_metadata=_common_metadata("rename-folder", start_time),
            source_folder_id=folder.path,
            destination_folder_id=renamed.path,
        )
        return self._operation(
            bucket, _any_of(metadata), _any_of(_folder_resource(bucket, renamed))
        )

    async def get_operation(self, request: pb.GetOperationRequest) -> pb.Operation:
        """Answer GetOperation of google.longrunning.Operations."""
        try:
            return self._operations[request.name]
        except KeyError:
            raise not_found(f"No such operation: {request.name!r}.") from None

    def _hierarchical(self, name: str) -> Bucket:
        bucket = self._store.bucket(name)
        if not bucket.placement.hierarchical:
            raise RpcError(
                StatusCode.FAILED_PRECONDITION,
                f"The bucket has no folders, because its namespace is flat: {name!r}.",
            )
        return bucket

    def _find(
        self,
        resource: str,
        conditions: Preconditions,
        not_match_code: StatusCode = StatusCode.FAILED_PRECONDITION,
    ) -> tuple[Bucket, StoredFolder]:
        """Return the folder with this resource name, and check the preconditions in the request."""
        name, path = folder_of(resource)
        bucket = self._hierarchical(name)
        check_folder_path(path)
        folder = bucket.folders.get(path)
        check_condition(conditions, "metageneration", folder.metageneration, not_match_code)
        return bucket, folder

    def _operation(self, bucket: Bucket, metadata: Any, response: Any) -> pb.Operation:
        """Return a new operation that is done, and store it for GetOperation."""
        name = f"projects/_/buckets/{bucket.name}/operations/{uuid.uuid4().hex}"
        operation = pb.Operation(name=name, metadata=metadata, done=True, response=response)
        self._operations[name] = operation
        return operation


def _folder_resource(bucket: Bucket, folder: StoredFolder) -> pb.Folder:
    time = timestamp(folder.time_ns)
    return pb.Folder(
        name=f"projects/_/buckets/{bucket.name}/folders/{folder.path}",
        metageneration=folder.metageneration,
        create_time=time,
        update_time=time,
    )


def _any_of(message: Message) -> Any:
    """Wrap a message in an Any with the type URL that the service uses."""
    return Any(type_url=_CONTROL_TYPES + message.DESCRIPTOR.name, value=message.SerializeToString())


def _common_metadata(
    operation_type: str, start_time: Timestamp
) -> pb.CommonLongRunningOperationMetadata:
    """Return the metadata of an operation that ends now."""
    now = _now()
    return pb.CommonLongRunningOperationMetadata(
        create_time=start_time,
        end_time=now,
        update_time=now,
        type=operation_type,
        progress_percent=_DONE_PERCENT,
    )


def _now() -> Timestamp:
    now = Timestamp()
    now.GetCurrentTime()
    return now
