"""Decides from the answers of the service what a name leads to; sans-IO.

One listing usually shows what a name is (see `read_name_page`). Otherwise two requests do: one for
the object of this name, one for anything below the name (see `combine`).

A caller may have permissions for a part of the bucket only. Then the service refuses one request
and answers the other. A refusal never hides what another answer shows:

1. GetObject shows the object. If GetObject is refused, a listing of the object's name shows the
   object, so a program sees the same attributes as after a listing of the directory.
2. A listing with the prefix `name` shows the directory. If that listing is refused, a listing with
   the prefix `name/` shows the directory, because a permission to list may be limited to this
   prefix.
3. If both listings are refused, nothing shows which names are directories. A name without an object
   is then assumed to be a directory. With `assume_directories`, a name is also assumed to be a
   directory if GetObject is refused as well, because GetObject of an absent object is refused to a
   caller who may not list. Such an answer is valid for the negative TTL only, because the name may
   be absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import PermissionDenied
from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.child import Child, Directory
from gcsmux_fs.namespace.names import Form, Step

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ListingPage, ObjectInfo

__all__ = ["Resolution", "combine", "read_name_page"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """The object and the directory that a name led to at the time `asked_at`.

    If GetObject was refused, `object_refused` is the error, and it is unknown whether the object
    exists. If the listings were refused, `assumed` is the directory that is assumed to exist.
    """

    asked_at: float
    info: ObjectInfo | None
    directory: Directory | None
    object_refused: PermissionDenied | None = None
    assumed: Directory | None = None

    def child(self, step: Step) -> Child | None:
        """Return what the file name that was parsed to `step` leads to; None if it is absent.

        Raises:
            PermissionDenied: the answer depends on a request that was refused.
        """
        file = Row.of(self.info) if self.info is not None else None
        if step.form is Form.CONTENT:
            return self._certain(file if self.info is not None and self.info.size else None)
        if step.form is Form.FILE:
            return None if self.directory is None else self._certain(file)
        if self.directory is not None:
            return self.directory
        # A name that ends with a slash (its last component is empty) is never a plain file.
        if file is not None and not step.target.endswith("/"):
            return file
        return self.assumed or self._certain(None)

    def _certain(self, file: Row | None) -> Row | None:
        if file is None and self.object_refused is not None:
            # Each lookup raises this error object again. Without this reset, its traceback would
            # grow.
            raise self.object_refused.with_traceback(None)
        return file


def read_name_page(target: str, asked_at: float, page: ListingPage) -> Resolution | None:
    """Return the resolution that the first page of the names from `target` to `target` + `/` shows.

    The object `target` has the first of these names, and the directory the last. So a page that is
    not the last one may leave open whether there is a directory, or what its placeholder object is.
    A page without entries may even leave open whether there is an object. Then the function returns
    None. It also returns None if the object is still being appended to, because a listing may show
    an old size.
    """
    if page.next_page_token:
        return None
    objects = {info.name: info for info in page.objects}
    info, placeholder = objects.get(target), objects.get(target + "/")
    if info is not None and not info.finalized:
        return None
    exists = placeholder is not None or target + "/" in page.prefixes
    return Resolution(asked_at, info, Directory(target + "/", placeholder) if exists else None)


def combine(
    target: str,
    asked_at: float,
    info: ObjectInfo | None,
    object_refused: PermissionDenied | None,
    directory: Directory | PermissionDenied | None,
    *,
    assume_directories: bool,
) -> Resolution:
    """Return the resolution of `target` from the answers of its two requests.

    Args:
        target: the object name, without the slash of the directory.
        asked_at: when the earlier of the two requests was sent.
        info: the object; None if GetObject found no object or was refused.
        object_refused: the error of GetObject if the service refused it, otherwise None.
        directory: the directory, the error if both listings were refused, or None if nothing is
            below the name.
        assume_directories: true if the caller may not list (rule 3).

    Raises:
        PermissionDenied: the answers do not show what the name is.
    """
    if not isinstance(directory, PermissionDenied):
        if directory is None and object_refused is not None:
            raise object_refused
        return Resolution(asked_at, info, directory, object_refused)
    if object_refused is not None and not assume_directories:
        raise object_refused
    assumed = Directory(target + "/", assumed=True) if info is None else None
    return Resolution(asked_at, info, None, object_refused, assumed)
