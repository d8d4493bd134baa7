"""Connects a mount with what `--cache-listings` has kept about its bucket on disk."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, TypeVar

import trio

from gcsmux_fs.caching.bucket_facts import BucketFacts
from gcsmux_fs.caching.cache_folders import CacheDirectoryError
from gcsmux_fs.caching.disk_names import DiskNames
from gcsmux_fs.caching.machine_moments import MachineMoments
from gcsmux_fs.caching.name_directory import NameDirectory
from gcsmux_fs.caching.name_records import FileId, RecordKind, view_of
from gcsmux_fs.caching.name_shelf import NameShelf
from gcsmux_fs.settings.service_address import service_of
from gcsmux_fs.storage.credentials import CREDENTIALS_VARIABLE, MACHINE_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import BucketInfo
    from gcsmux_fs.settings.settings import Settings

__all__ = ["KeptBucket", "known_identity"]

log = logging.getLogger(__name__)

# How long the start of a mount waits for the disk, and its end for the last facts.
_FACTS_SECONDS = 5.0

Result = TypeVar("Result")


class KeptBucket:
    """The names and the facts that are kept about the bucket of one mount.

    The names are kept for the identity whose credentials the calls use, because the service may
    show another identity less. The facts are kept for the settings of the credentials, because the
    identity may be unknown while the service cannot be reached.
    """

    def __init__(self, settings: Settings, directory: NameDirectory) -> None:
        self._settings = settings
        self._directory = directory
        self._moments = MachineMoments()
        service = service_of(settings.endpoint)
        self._owner = (service, settings.bucket, os.geteuid())
        chosen = (
            settings.key_file,
            settings.token_file,
            settings.token_command,
            settings.impersonate_service_account,
            os.environ.get(CREDENTIALS_VARIABLE),
        )
        view = view_of("facts", *self._owner, settings.anonymous, *map(str, chosen))
        self._facts_file = FileId(view, RecordKind.FACTS, settings.prefix)

    @classmethod
    def of(cls, settings: Settings) -> KeptBucket | None:
        """Return what is kept for a mount; None if the user wants nothing to be kept."""
        options = settings.cache
        if options is None or not settings.cache_listings:
            return None
        return cls(settings, NameDirectory(options))

    async def read_facts(self) -> BucketFacts | None:
        """Return what an earlier mount has found out; None if there is nothing."""
        return await _in_thread(lambda: self._directory.read_facts(self._facts_file))

    async def write_facts(self, info: BucketInfo, identity: str) -> None:
        """Keep what the check of the bucket has found out."""
        facts, now = BucketFacts(info, identity), self._moments.now()
        await _in_thread(lambda: self._directory.write_facts(self._facts_file, facts, now))

    def names(self, info: BucketInfo, identity: str) -> DiskNames:
        """Return what keeps the names that this identity sees."""
        view = view_of("names", *self._owner, identity, info.hierarchical)
        directory = self._directory
        return DiskNames(
            lambda: NameShelf(directory.files(), view, directory.counters),
            clock=trio.current_time,
            moment=self._moments.now,
            counters=directory.counters,
        )


def known_identity(identity: str, facts: BucketFacts) -> str | None:
    """Return whose names may be shown without the service; None if the facts are of another user.

    The metadata server tells only with a token whose credentials it has.
    """
    if identity == MACHINE_IDENTITY:
        return facts.identity
    return identity if identity == facts.identity else None


async def _in_thread(function: Callable[[], Result]) -> Result | None:
    """Return the result of a function that uses the disk; None if the disk fails or hangs."""
    with trio.move_on_after(_FACTS_SECONDS):
        try:
            return await trio.to_thread.run_sync(function, abandon_on_cancel=True)
        except (CacheDirectoryError, OSError) as error:
            log.warning("the facts about the bucket cannot be kept on disk: %s", error)
            return None
    log.warning("the disk of --cache-dir does not answer")
    return None
