"""All buckets of the emulator. Each folder in the served folder is a bucket."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.bucket import Bucket
from gcsmux_fs.emulator.buckets.metadata_store import METADATA_FOLDER
from gcsmux_fs.emulator.buckets.placement import REGION, Placement, load_placement, save_placement
from gcsmux_fs.emulator.rpc_error import RpcError, not_found
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.emulator.buckets.object_events import Announce, ObjectEvent

__all__ = ["BucketStore"]


class BucketStore:
    """All buckets. `default` is the placement of buckets that were not created by CreateBucket.

    The functions in `listeners` are called with each event that `announce` announces. The functions
    in `silent_listeners` are called with a bucket and an object name for each change without event.
    """

    def __init__(self, folder: Path, default: Placement | None = None) -> None:
        self.folder = folder.resolve()
        self.default = default or Placement.default(REGION)
        self.listeners: list[Announce] = []
        self.silent_listeners: list[Callable[[str, str], None]] = []
        self._buckets: dict[str, Bucket] = {}

    def names(self) -> list[str]:
        """Return the names of all buckets, sorted."""
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if not path.name.startswith(".") and path.is_dir() and not path.is_symlink()
        )

    def bucket(self, name: str) -> Bucket:
        """Return a bucket.

        Raises:
            RpcError: there is no such bucket (NOT_FOUND).
        """
        folder = self.folder / name
        if name.startswith(".") or folder.is_symlink() or not folder.is_dir():
            self._buckets.pop(name, None)
            raise not_found(f"The specified bucket does not exist: {name!r}.")
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = Bucket(name, folder, self.folder, self._placement(name), self.announce)
            self._buckets[name] = bucket
        return bucket

    def create(self, name: str, placement: Placement) -> Bucket:
        """Create an empty bucket.

        Raises:
            RpcError: the bucket exists (ALREADY_EXISTS).
        """
        try:
            (self.folder / name).mkdir()
        except FileExistsError:
            raise RpcError(
                StatusCode.ALREADY_EXISTS, f"The bucket already exists: {name!r}."
            ) from None
        metadata_folder = self.folder / METADATA_FOLDER / name
        # Old metadata may remain from a bucket whose folder was removed by hand.
        shutil.rmtree(metadata_folder, ignore_errors=True)
        self._buckets.pop(name, None)
        save_placement(metadata_folder, placement)
        return self.bucket(name)

    def delete(self, name: str) -> None:
        """Remove a bucket without objects, together with its empty folders.

        Raises:
            RpcError: there is no such bucket (NOT_FOUND), or it contains an object
                (FAILED_PRECONDITION).
        """
        bucket = self.bucket(name)
        if next(bucket.names_from(""), None) is not None:
            raise RpcError(StatusCode.FAILED_PRECONDITION, f"The bucket is not empty: {name!r}.")
        bucket.remove_folders()
        del self._buckets[name]

    def announce(self, event: ObjectEvent) -> None:
        """Announce a change of an object. Buckets announce all changes that calls make."""
        for listener in self.listeners:
            listener(event)

    def _placement(self, name: str) -> Placement:
        return load_placement(self.folder / METADATA_FOLDER / name) or self.default
