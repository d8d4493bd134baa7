"""The buckets: which folders are some, and how they are made and removed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets import placement
from gcsmux_fs.emulator.buckets.bucket import Bucket
from gcsmux_fs.emulator.buckets.metadata_store import SIDE_FOLDER
from gcsmux_fs.emulator.buckets.placement import REGION, Placement
from gcsmux_fs.emulator.rpc_error import RpcError, not_found
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Store"]


class Store:
    """All buckets below the served folder; `default` places those of which nothing is known."""

    def __init__(self, folder: Path, default: Placement | None = None) -> None:
        self.folder = folder.resolve()
        self.default = default or Placement.default(REGION)
        self._buckets: dict[str, Bucket] = {}

    def names(self) -> list[str]:
        """Return the buckets that are there, in order."""
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if not path.name.startswith(".") and path.is_dir() and not path.is_symlink()
        )

    def bucket(self, name: str) -> Bucket:
        """Return a bucket that is there.

        Raises:
            RpcError: there is none (NOT_FOUND).
        """
        folder = self.folder / name
        if name.startswith(".") or folder.is_symlink() or not folder.is_dir():
            self._buckets.pop(name, None)
            raise not_found(f"The specified bucket does not exist: {name!r}")
        known = self._buckets.get(name)
        if known is None:
            known = self._buckets[name] = Bucket(name, folder, self.folder, self._placement(name))
        return known

    def create(self, name: str, place: Placement) -> Bucket:
        """Make a new, empty bucket."""
        try:
            (self.folder / name).mkdir()
        except FileExistsError:
            raise RpcError(StatusCode.ALREADY_EXISTS, f"The bucket exists: {name!r}") from None
        side = self.folder / SIDE_FOLDER / name
        # What is left there belongs to a bucket whose folder was removed by hand.
        shutil.rmtree(side, ignore_errors=True)
        self._buckets.pop(name, None)
        placement.save(side, place)
        return self.bucket(name)

    def delete(self, name: str) -> None:
        """Remove a bucket that holds no object; empty folders in it go with it."""
        bucket = self.bucket(name)
        if next(bucket.names_from(""), None) is not None:
            raise RpcError(StatusCode.FAILED_PRECONDITION, f"The bucket is not empty: {name!r}")
        bucket.remove_folders()
        del self._buckets[name]

    def _placement(self, name: str) -> Placement:
        return placement.load(self.folder / SIDE_FOLDER / name) or self.default
