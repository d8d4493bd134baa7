"""The control service: folders of hierarchical buckets, storage layouts, and operations.

Renaming and recursive deletion are operations of google.longrunning. They are done when they are
answered; what they came to can be asked for again while the emulator runs.
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
from gcsmux_fs.emulator.buckets.listing_pages import MAX_PAGE_ENTRIES, Position, Query
from gcsmux_fs.emulator.buckets.object_names import bucket_of, folder_of
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.emulator.services.resources import check_condition, timestamp
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.store import Store
    from gcsmux_fs.emulator.services.resources import Preconditions

__all__ = ["FolderService"]

_LAYOUT_SUFFIX = "/storageLayout"
_CONTROL_TYPES = "type.googleapis.com/google.storage.control.v2."
_EMPTY_TYPE = "type.googleapis.com/google.protobuf.Empty"
# A megabyte; nobody asks for an operation that is so many operations old.
_MAX_KEPT_OPERATIONS = 1000
_DONE_PERCENT = 100


class FolderService:
    """Answers from what is in the folder at that moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._operations: LRUCache[str, pb.Operation] = LRUCache(_MAX_KEPT_OPERATIONS)

    async def get_storage_layout(self, request: pb.GetStorageLayoutRequest) -> pb.StorageLayout:
        """Answer GetStorageLayout, for buckets of either namespace."""
        if not request.name.endswith(_LAYOUT_SUFFIX):
            raise invalid(f"Not the name of a storage layout: {request.name!r}")
        bucket = self._store.bucket(bucket_of(request.name.removesuffix(_LAYOUT_SUFFIX)))
        place = bucket.placement
        return pb.StorageLayout(
            name=request.name,
            location=place.location,
            location_type=place.location_type,
            custom_placement_config=pb.StorageLayout.CustomPlacementConfig(
                data_locations=place.data_locations
            )
            if place.data_locations
            else None,
            hierarchical_namespace=pb.StorageLayout.HierarchicalNamespace(
                enabled=place.hierarchical
            ),
        )

    async def get_folder(self, request: pb.GetFolderRequest) -> pb.Folder:
        """Answer GetFolder."""
        bucket, found = self._found(request.name, request, StatusCode.ABORTED)
        return _resource(bucket, found)

    async def list_folders(self, request: pb.ListFoldersRequest) -> pb.ListFoldersResponse:
        """Answer ListFolders."""
        bucket = self._hierarchical(bucket_of(request.parent))
        if request.page_size < 0:
            raise invalid(f"page_size is negative: {request.page_size}")
        if request.delimiter not in ("", "/"):
            raise invalid(f"The only delimiter of folders is '/', not {request.delimiter!r}")
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
            folders=map(partial(_resource, bucket), page.folders),
            next_page_token=page.following.token(query) if page.following else "",
        )

    async def create_folder(self, request: pb.CreateFolderRequest) -> pb.Folder:
        """Answer CreateFolder."""
        bucket = self._hierarchical(bucket_of(request.parent))
        if request.folder.name:
            raise invalid("The folder's name must be in folder_id, not in folder")
        made = bucket.folders.create(request.folder_id, recursive=request.recursive)
        return _resource(bucket, made)

    async def delete_folder(self, request: pb.DeleteFolderRequest) -> Empty:
        """Answer DeleteFolder."""
        bucket, found = self._found(request.name, request)
        bucket.folders.delete(found.path)
        return Empty()

    async def delete_folder_recursive(
        self, request: pb.DeleteFolderRecursiveRequest
    ) -> pb.Operation:
        """Answer DeleteFolderRecursive."""
        bucket, found = self._found(request.name, request)
        begun = _now()
        bucket.folders.delete_all(found.path)
        metadata = pb.DeleteFolderRecursiveMetadata(
            common_metadata=_done("delete-folder-recursive", begun), folder_id=found.path
        )
        return self._operation(
            bucket, _any_of(metadata), Any(type_url=_EMPTY_TYPE, value=Empty().SerializeToString())
        )

    async def rename_folder(self, request: pb.RenameFolderRequest) -> pb.Operation:
        """Answer RenameFolder."""
        bucket, found = self._found(request.name, request)
        begun = _now()
        renamed = bucket.folders.rename(found.path, request.destination_folder_id)
        metadata = pb.RenameFolderMetadata(
            common_metadata=_done("rename-folder", begun),
            source_folder_id=found.path,
            destination_folder_id=renamed.path,
        )
        return self._operation(bucket, _any_of(metadata), _any_of(_resource(bucket, renamed)))

    async def get_operation(self, request: pb.GetOperationRequest) -> pb.Operation:
        """Answer GetOperation of google.longrunning.Operations."""
        try:
            return self._operations[request.name]
        except KeyError:
            raise not_found(f"No such operation: {request.name!r}") from None

    def _hierarchical(self, name: str) -> Bucket:
        bucket = self._store.bucket(name)
        if not bucket.placement.hierarchical:
            raise RpcError(
                StatusCode.FAILED_PRECONDITION,
                f"The bucket has no hierarchical namespace, and so no folders: {name!r}",
            )
        return bucket

    def _found(
        self,
        resource: str,
        conditions: Preconditions,
        not_match_code: StatusCode = StatusCode.FAILED_PRECONDITION,
    ) -> tuple[Bucket, StoredFolder]:
        """Return the folder that a request is about, with its conditions checked."""
        name, path = folder_of(resource)
        bucket = self._hierarchical(name)
        check_folder_path(path)
        found = bucket.folders.get(path)
        check_condition(conditions, "metageneration", found.metageneration, not_match_code)
        return bucket, found

    def _operation(self, bucket: Bucket, metadata: Any, response: Any) -> pb.Operation:
        """Return an operation that is done, and keep it."""
        name = f"projects/_/buckets/{bucket.name}/operations/{uuid.uuid4().hex}"
        made = pb.Operation(name=name, metadata=metadata, done=True, response=response)
        self._operations[name] = made
        return made


def _resource(bucket: Bucket, folder: StoredFolder) -> pb.Folder:
    time = timestamp(folder.time_ns)
    return pb.Folder(
        name=f"projects/_/buckets/{bucket.name}/folders/{folder.path}",
        metageneration=folder.metageneration,
        create_time=time,
        update_time=time,
    )


def _any_of(message: Message) -> Any:
    """Return a message of the control service under the name that the service has for it."""
    return Any(type_url=_CONTROL_TYPES + message.DESCRIPTOR.name, value=message.SerializeToString())


def _done(kind: str, begun: Timestamp) -> pb.CommonLongRunningOperationMetadata:
    now = _now()
    return pb.CommonLongRunningOperationMetadata(
        create_time=begun,
        end_time=now,
        update_time=now,
        type=kind,
        progress_percent=_DONE_PERCENT,
    )


def _now() -> Timestamp:
    now = Timestamp()
    now.GetCurrentTime()
    return now
