"""What fsspec shows of objects and folders, with the names that gcsfs uses; sans-IO."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING, Any

from gcsmux_fs.model.errors import StorageError, errno_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.model.values import ObjectInfo

__all__ = ["folder_details", "object_details", "os_error", "parent_folders", "split_path"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def split_path(path: str) -> tuple[str, str]:
    """Return the bucket and the object name of a path without protocol; the name may be empty."""
    bucket, _, name = path.partition("/")
    return bucket, name.rstrip("/")


def parent_folders(names: Iterable[str], location: str) -> set[str]:
    """Return all folders below `location` that hold one of the objects, without a last slash."""
    folders: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while len(folder) > len(location) and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def object_details(bucket: str, info: ObjectInfo) -> dict[str, Any]:
    """Return the details of an object: sizes in bytes, numbers of 64 bits as text, as gcsfs does.

    `crc32c` is the CRC32C in the form of the JSON API: big-endian, in Base64.
    """
    details: dict[str, Any] = {
        "name": f"{bucket}/{info.name}",
        "bucket": bucket,
        "size": info.size,
        "type": "file",
        "generation": str(info.generation),
        "metageneration": str(info.metageneration),
        "mtime": _time(info.mtime_ns),
    }
    if info.content_type:
        details["contentType"] = info.content_type
    if info.content_encoding:
        details["contentEncoding"] = info.content_encoding
    if info.storage_class:
        details["storageClass"] = info.storage_class
    if info.crc32c is not None:
        details["crc32c"] = base64.b64encode(info.crc32c.to_bytes(4, "big")).decode()
    if info.metadata:
        details["metadata"] = dict(info.metadata)
    return details


def folder_details(bucket: str, name: str) -> dict[str, Any]:
    """Return the details of a folder; the empty name is the bucket itself."""
    return {
        "name": f"{bucket}/{name}" if name else bucket,
        "bucket": bucket,
        "size": 0,
        "type": "directory",
        "storageClass": "DIRECTORY",
    }


def os_error(error: StorageError, path: str) -> OSError:
    """Return the error that Python programs expect, for example a FileNotFoundError.

    An overwritten generation is an OSError with the number ESTALE.
    """
    message = str(error)
    return OSError(errno_of(error), message, path)


def _time(nanoseconds: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=nanoseconds // 1000)
