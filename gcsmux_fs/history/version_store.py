"""The calls of the service that show the generations of objects, as a protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gcsmux_fs.model.object_versions import BucketRetention, VersionPage
    from gcsmux_fs.model.values import BucketInfo

__all__ = ["VersionStore"]


class VersionStore(Protocol):
    """The unary calls that `AsOfStore` needs; they raise the errors of `ObjectStore`."""

    async def get_bucket(self, prefix: str = "") -> BucketInfo:
        """Return the layout of the bucket (see `ObjectStore.get_bucket`)."""

    async def get_retention(self) -> BucketRetention:
        """Return which old generations the bucket keeps."""

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
        """Return one page of the live and noncurrent generations, or of the soft-deleted ones.

        The other arguments are those of `ObjectStore.list_objects`.
        """
