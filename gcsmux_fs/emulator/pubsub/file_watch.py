"""Announces changes of files that other programs have made in the folders of buckets.

The emulator's own changes are announced by the bucket, and the watch sees their files, too. It
therefore remembers what has been announced of each name, and announces only the difference.

The previous generation of a file is known if a call has looked at the file, or if the file has had
an event. Otherwise no client knows the generation, and the event does not need it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.object_events import (
    ObjectEvent,
    ObjectEventType,
    replacement_events,
)
from gcsmux_fs.emulator.buckets.object_names import is_object_name
from gcsmux_fs.emulator.pubsub.inotify import Inotify
from gcsmux_fs.emulator.rpc_error import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsmux_fs.emulator.buckets.objects import StoredObject
    from gcsmux_fs.emulator.buckets.store import BucketStore

__all__ = ["FileWatch"]

log = logging.getLogger(__name__)


class FileWatch:
    """Watches the folders of buckets after `start`.

    `is_wanted` returns whether a notification configuration applies to a bucket.
    """

    def __init__(self, store: BucketStore, is_wanted: Callable[[str], bool]) -> None:
        self._store = store
        self._is_wanted = is_wanted
        self._inotify: Inotify | None = None
        # The buckets to watch; "" stands for all buckets.
        self._wanted: set[str] = set()
        # For each bucket and name: the object of the last event; None after it was deleted.
        self._announced: dict[tuple[str, str], StoredObject | None] = {}
        store.listeners.append(self._note)
        store.silent_listeners.append(self._note_silent)

    def start(self) -> None:
        """Watch the buckets that `watch` has named, and will name."""
        self._inotify = Inotify()
        asyncio.get_running_loop().add_reader(self._inotify.descriptor, self._read)
        for bucket in self._wanted:
            self._watch(bucket)

    def stop(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.descriptor)
            self._inotify.close()
            self._inotify = None

    def watch(self, bucket: str) -> None:
        """Watch a bucket; "" stands for all buckets, also those that are created later."""
        self._wanted.add(bucket)
        if self._inotify is not None:
            self._watch(bucket)

    def _watch(self, bucket: str) -> None:
        if bucket:
            self._watch_below(str(self._store.folder / bucket))
            return
        self._watch_folder(str(self._store.folder))
        for name in self._store.names():
            self._watch_below(str(self._store.folder / name))

    def _watch_below(self, top: str) -> list[str]:
        """Watch a folder and all folders in it. Return the files in them."""
        self._seen(self._relative(top).partition("/")[0])
        files = []
        for folder, _, names in os.walk(top):
            self._watch_folder(folder)
            files += [f"{folder}/{name}" for name in names]
        return files

    def _watch_folder(self, folder: str) -> None:
        try:
            if self._inotify is not None:
                self._inotify.watch(folder)
        except OSError as error:
            log.warning("Changes of files in %s are not published: %s", folder, error)

    def _read(self) -> None:
        for change in () if self._inotify is None else self._inotify.read():
            if not change.name:
                log.warning("Too many files have changed: some changes have not been published.")
                continue
            path = f"{change.folder}/{change.name}"
            if self._relative(path).startswith("."):
                continue  # no bucket
            if change.is_new_folder:
                for file in self._watch_below(path):
                    self._look_at(file)
            elif change.is_folder:
                self._look_below(path)
            else:
                self._look_at(path)

    def _look_below(self, folder: str) -> None:
        """Look at all known files of a folder that has been removed or moved away."""
        bucket, _, prefix = self._relative(folder).partition("/")
        known = {name for of, name in self._announced if of == bucket} | set(self._seen(bucket))
        for name in known:
            if name.startswith(f"{prefix}/" if prefix else ""):
                self._look_at(f"{self._store.folder}/{bucket}/{name}")

    def _look_at(self, path: str) -> None:
        """Announce the difference between a file and what has been announced of it."""
        bucket_name, _, name = self._relative(path).partition("/")
        if not (self._is_wanted(bucket_name) and is_object_name(name)):
            return
        key = bucket_name, name
        seen = self._seen(bucket_name).get(name)
        old = self._announced.get(key, seen)
        try:
            current = self._store.bucket(bucket_name).find(name)
        except RpcError:
            current = None
        if current is None:
            if old is not None:
                self._store.announce(ObjectEvent(ObjectEventType.DELETE, old))
        elif key not in self._announced or old is None or old.generation != current.generation:
            for event in replacement_events(old, current):
                self._store.announce(event)

    def _note(self, event: ObjectEvent) -> None:
        """Remember what is announced of each name."""
        key = event.stored.bucket, event.stored.name
        if event.type in (ObjectEventType.FINALIZE, ObjectEventType.METADATA_UPDATE):
            self._announced[key] = event.stored
        else:
            # The deleted generation may be noncurrent, or its successor is not finalized and has no
            # event of its own.
            self._note_silent(*key)

    def _note_silent(self, bucket: str, name: str) -> None:
        self._announced[bucket, name] = self._store.bucket(bucket).find(name)

    def _seen(self, name: str) -> Mapping[str, StoredObject]:
        """Return what look-ups have found in a bucket, and remember it from now on."""
        try:
            bucket = self._store.bucket(name)
        except RpcError:
            return {}
        if bucket.seen is None:
            bucket.seen = {}
        return bucket.seen

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self._store.folder}/")
