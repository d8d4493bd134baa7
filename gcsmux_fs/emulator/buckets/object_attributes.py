"""Attributes of objects, such as the content type. The values are from a request or defaults."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["ObjectAttributes", "attributes_from_resource", "default_attributes"]

_DEFAULT_CONTENT_TYPE = "application/octet-stream"
_DEFAULT_STORAGE_CLASS = "STANDARD"


@dataclass(frozen=True, slots=True)
class ObjectAttributes:
    """Metadata that the writer of an object may set."""

    content_type: str = ""
    content_encoding: str = ""
    content_disposition: str = ""
    content_language: str = ""
    cache_control: str = ""
    storage_class: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def attributes_from_resource(resource: pb.Object, name: str) -> ObjectAttributes:
    """Return the attributes in a request, with defaults for the attributes that it does not set."""
    default = default_attributes(name)
    return ObjectAttributes(
        content_type=resource.content_type or default.content_type,
        content_encoding=resource.content_encoding,
        content_disposition=resource.content_disposition,
        content_language=resource.content_language,
        cache_control=resource.cache_control,
        storage_class=resource.storage_class or default.storage_class,
        metadata=dict(resource.metadata),
    )


def default_attributes(name: str) -> ObjectAttributes:
    """Return the attributes of a file without a record. The extension gives the content type."""
    stem, _, extension = name.rpartition("/")[2].rpartition(".")
    return _attributes_of_extension(extension if stem else "")


@lru_cache
def _attributes_of_extension(extension: str) -> ObjectAttributes:
    guessed, encoding = mimetypes.guess_type("x." + extension)
    # For a compressed file, mimetypes guesses the type of the decompressed content, so this guess
    # is not used.
    content_type = _DEFAULT_CONTENT_TYPE if guessed is None or encoding else guessed
    return ObjectAttributes(content_type=content_type, storage_class=_DEFAULT_STORAGE_CLASS)
