"""The checks of the credentials, of the bucket, and of its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.request import getproxies

import trio

from gcsmux_fs.connected_service import ConnectedService
from gcsmux_fs.doctor import identity_findings, service_findings
from gcsmux_fs.doctor.checklist import Finding, skipped
from gcsmux_fs.doctor.local_checks import in_thread
from gcsmux_fs.doctor.network_probes import resolve
from gcsmux_fs.doctor.read_probe import ReadProbe
from gcsmux_fs.doctor.service_findings import Target
from gcsmux_fs.model.errors import CredentialsError, StorageError
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.storage.channels import open_channels
from gcsmux_fs.storage.credentials import load_credentials
from gcsmux_fs.storage.direct_path import connected_paths
from gcsmux_fs.storage.unary_calls import UnaryPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gcsmux_fs.doctor.subject import Subject
    from gcsmux_fs.model.values import BucketInfo, ListingPage, ObjectInfo
    from gcsmux_fs.storage.channels import Channels
    from gcsmux_fs.storage.object_store import GrpcObjectStore

__all__ = ["ServiceChecks"]

T = TypeVar("T")

# The part of a check's time limit that the sample of the rate takes at most.
_SAMPLE_SHARE = 0.5
# One stream carries all reads, and one unary call runs at a time.
_MAX_CALLS = 1
_NO_SAMPLE = "there is no object with content to read: name one with --object"


class ServiceChecks:
    """The checks of the service. Each method makes the check of the same name.

    Args:
        subject: what is examined.
        tasks: the nursery for the tasks of the streams.
    """

    def __init__(self, subject: Subject, tasks: trio.Nursery) -> None:
        settings = subject.settings
        self._subject = subject
        self._target = Target(
            subject.bucket,
            subject.prefix,
            settings.endpoint,
            settings.plaintext,
            settings.billing_project,
        )
        self._tasks = tasks
        self._token_host = ""
        self._channels: Channels | None = None
        self._connected: ConnectedService | None = None
        self._store: GrpcObjectStore | None = None
        self._probe: ReadProbe | None = None
        self._layout: BucketInfo | StorageError | None = None
        self._page: ListingPage | None = None
        self._sample: ObjectInfo | None = None

    async def close(self) -> None:
        """Wait for the end of all calls and close all connections. The tasks must have ended."""
        if self._connected is not None:
            await self._connected.close()
        if self._channels is not None:
            await self._channels.close_all()

    async def credentials(self) -> Finding:
        """Find the credentials, and whose they are."""
        settings = self._subject.settings
        if settings.anonymous:
            return identity_findings.credentials_finding(None)
        host = settings.endpoint.rpartition(":")[0]
        try:
            loaded = await in_thread(lambda: load_credentials(settings.credentials, host))
        except CredentialsError as error:
            return identity_findings.credentials_finding(error)
        self._token_host = identity_findings.token_host(loaded.credentials)
        return identity_findings.credentials_finding(loaded.identity)

    async def token(self) -> Finding:
        """Resolve the name of the token server, and fetch an access token."""
        host = self._token_host
        if (
            host
            and not getproxies()
            and isinstance(await in_thread(lambda: resolve(host, 443)), str)
        ):
            return identity_findings.unresolved_finding(host)
        begin = trio.current_time()
        try:
            self._channels = await open_channels(self._subject.settings)
        except CredentialsError as error:
            return identity_findings.token_finding(error, 0.0)
        tokens = self._channels.tokens
        identity = None if tokens is None else tokens.identity
        return identity_findings.token_finding(identity, trio.current_time() - begin)

    async def service(self) -> Finding:
        """Make the first call."""
        assert self._channels is not None
        seconds = self._subject.call_seconds
        self._connected = ConnectedService(
            self._channels,
            self._subject.settings,
            read_timeout_seconds=seconds,
            max_calls=_MAX_CALLS,
        )
        self._store = self._connected.new_store(
            self._subject.bucket, policy=UnaryPolicy(total_seconds=seconds, attempt_seconds=seconds)
        )
        begin = trio.current_time()
        self._layout = await _outcome(self._store.get_layout(self._subject.prefix))
        seconds = trio.current_time() - begin
        return service_findings.service_finding(self._layout, seconds, self._target)

    async def billing(self) -> Finding:
        """Check which project pays."""
        assert self._layout is not None
        return service_findings.billing_finding(self._layout, self._target)

    async def bucket(self) -> Finding:
        """Check whether the bucket exists."""
        assert self._layout is not None
        return service_findings.bucket_finding(self._layout, self._target)

    async def list(self) -> Finding:
        """List the first page of the prefix, and choose an object to read."""
        assert self._store is not None
        begin = trio.current_time()
        page = await _outcome(self._store.list_objects(self._subject.prefix))
        seconds = trio.current_time() - begin
        if not isinstance(page, StorageError):
            self._page = page
        return service_findings.list_finding(page, seconds, self._target)

    async def get(self) -> Finding:
        """Check the permission to read."""
        assert self._store is not None
        name = self._subject.object_name
        if not name and self._page is not None and self._page.objects:
            name = max(self._page.objects, key=lambda info: info.size).name
        answer: ObjectInfo | StorageError | bool
        if name:
            answer = await _outcome(self._store.get_object(name))
            if not isinstance(answer, StorageError) and answer.size:
                self._sample = answer
        else:
            answer = await _outcome(self._store.may_read(self._subject.prefix))
        return service_findings.get_finding(answer, name, self._target)

    async def streams(self) -> Finding:
        """Open a stream and read one byte."""
        if self._sample is None:
            return skipped(_NO_SAMPLE)
        assert self._connected is not None
        streams = self._connected.new_streams()
        self._tasks.start_soon(self._connected.deferred_calls.run)
        self._tasks.start_soon(streams.run)
        key = ObjectKey(self._subject.bucket, self._sample.name, self._sample.generation)
        self._probe = ReadProbe(streams, key, self._sample.size)
        first_byte = await _outcome(self._probe.first_byte())
        missing = self._connected.bidi_missing
        return service_findings.streams_finding(first_byte, missing, self._sample.name)

    async def round_trip(self) -> Finding:
        """Measure the round trip on the open stream."""
        assert self._probe is not None
        assert self._sample is not None
        seconds = await _outcome(self._probe.round_trips())
        return service_findings.round_trip_finding(seconds, self._sample.name)

    async def rate(self) -> Finding:
        """Measure the rate of the stream."""
        assert self._probe is not None
        assert self._sample is not None
        seconds = self._subject.check_seconds * _SAMPLE_SHARE
        sample = await _outcome(self._probe.sample(seconds))
        return service_findings.rate_finding(sample, self._sample.name)

    async def direct_path(self) -> Finding:
        """Report whether DirectPath is used."""
        mode = self._subject.settings.direct_path
        return identity_findings.direct_path_finding(mode, connected_paths())


async def _outcome(call: Awaitable[T]) -> T | StorageError:
    """Await a call and return its result, or the StorageError that it raises."""
    try:
        return await call
    except StorageError as error:
        return error
