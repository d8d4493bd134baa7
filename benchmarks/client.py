"""Our client without FUSE: mux and storage alone. It is the upper limit for the mount.

Run as `client.py ENDPOINT BUCKET TASK` in a separate process; it prints the outcome. Sequential
reads keep `WINDOW_BYTES` in flight, in ranges of `RANGE_BYTES`. The client runs one reader for each
thread of the task.
"""

from __future__ import annotations

import functools
import random
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from benchmarks.programs import tensor_plan
from benchmarks.tasks import Kind, Outcome, Task, percentiles
from gcsmux_fs.model.values import FinalContent, ObjectKey
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.process import malloc
from gcsmux_fs.process.deferred_calls import DeferredCalls
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.channels import ChannelSettings, open_channels
from gcsmux_fs.storage.object_store import GrpcObjectStore
from gcsmux_fs.storage.unary_calls import UnaryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.model.values import ObjectInfo

__all__: list[str] = []

_MIB = 1024 * 1024
RANGE_BYTES = 2 * _MIB
WINDOW_BYTES = 64 * _MIB
_STREAM_CONNECTIONS = 8  # with 80 streams each: more than any task needs


@dataclass(frozen=True)
class _Client:
    """Access to one bucket: object metadata, listings and reads."""

    bucket: str
    store: GrpcObjectStore
    registry: StreamRegistry

    async def key(self, name: str) -> ObjectKey:
        return self.key_of(await self.store.get_object(name))

    def key_of(self, info: ObjectInfo) -> ObjectKey:
        return ObjectKey(self.bucket, info.name, info.generation)

    async def list(self, folder: str) -> tuple[list[ObjectInfo], list[str], float]:
        """Return the objects and subfolders of a folder, and the seconds until the first page."""
        objects: list[ObjectInfo] = []
        folders: list[str] = []
        prefix = f"{folder}/" if folder else ""
        began, first, token = time.perf_counter(), 0.0, ""
        while True:
            page = await self.store.list_objects(prefix, delimiter="/", page_token=token)
            first = first or time.perf_counter() - began
            objects += page.objects
            folders += [name.rstrip("/") for name in page.prefixes]
            token = page.next_page_token
            if not token:
                return objects, folders, first

    async def read(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        window: int,
        final: FinalContent | None = None,
    ) -> int:
        """Read `length` bytes at `offset`, with `window` bytes in flight; return the number read.

        `final` is the whole content of the object; None while the object may grow.
        """
        received = 0
        free_slots = trio.Semaphore(max(1, window // RANGE_BYTES))
        slots = free_slots.value
        failures: list[StorageError] = []

        def done(outcome: memoryview | StorageError) -> None:
            nonlocal received
            free_slots.release()
            if isinstance(outcome, memoryview):
                received += len(outcome)
            else:
                failures.append(outcome)

        end = offset + length
        while offset < end and not failures:
            await free_slots.acquire()
            size = min(RANGE_BYTES, end - offset)
            self.registry.request(key, offset, size, done, final=final)
            offset += size
        for _ in range(slots):
            await free_slots.acquire()
        if failures:
            raise failures[0]
        return received


async def _in_parallel(works: Sequence[Callable[[], Awaitable[int]]]) -> tuple[float, int]:
    """Run all coroutines at the same time; return the duration and the sum of their results."""
    counts: list[int] = []

    async def run(work: Callable[[], Awaitable[int]]) -> None:
        counts.append(await work())

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for work in works:
            nursery.start_soon(run, work)
    return time.perf_counter() - began, sum(counts)


async def _sequential(client: _Client, task: Task) -> Outcome:
    shares = task.threads // len(task.names)
    length = task.size_bytes // shares
    works = [
        functools.partial(
            client.read,
            await client.key(name),
            share * length,
            length,
            WINDOW_BYTES // task.threads,
        )
        for name in task.names
        for share in range(shares)
    ]
    return Outcome(*await _in_parallel(works))


async def _random(client: _Client, task: Task) -> Outcome:
    key = await client.key(task.names[0])
    source = random.Random(task.seed)
    places = task.size_bytes // task.block_bytes
    samples: list[float] = []
    await client.read(key, 0, 1, RANGE_BYTES)
    end = time.perf_counter() + task.seconds

    async def reader() -> int:
        total = 0
        while (began := time.perf_counter()) < end:
            offset = source.randrange(places) * task.block_bytes
            total += await client.read(key, offset, task.block_bytes, RANGE_BYTES)
            samples.append(time.perf_counter() - began)
        return total

    seconds, count = await _in_parallel([reader] * task.threads)
    return Outcome(seconds, count, len(samples), percentiles(samples))


async def _tensors(client: _Client, task: Task) -> Outcome:
    key = await client.key(task.names[0])
    total = 0
    began = time.perf_counter()
    for offset, length in tensor_plan(task.size_bytes, task.seed):
        total += await client.read(key, offset, length, WINDOW_BYTES)
    return Outcome(time.perf_counter() - began, total, 1)


async def _files(client: _Client, task: Task) -> Outcome:
    began = time.perf_counter()
    objects: list[ObjectInfo] = []
    for name in task.names:
        objects += (await client.list(name))[0]
    listed = time.perf_counter() - began
    if task.shuffled:
        random.Random(task.seed).shuffle(objects)
    waiting = iter(objects[: task.count or None])
    samples: list[float] = []

    async def reader() -> int:
        total = 0
        for info in waiting:
            began = time.perf_counter()
            key = client.key_of(info)
            final = FinalContent(info.size, info.crc32c)
            total += await client.read(key, 0, info.size, RANGE_BYTES, final)
            samples.append(time.perf_counter() - began)
        return total

    seconds, count = await _in_parallel([reader] * task.threads)
    figures = {"listing_seconds": listed}
    return Outcome(seconds, count, len(samples), percentiles(samples), figures)


async def _first_byte(client: _Client, task: Task) -> Outcome:
    samples: list[float] = []
    for name in task.names:
        began = time.perf_counter()
        await client.read(await client.key(name), 0, 1, RANGE_BYTES)
        samples.append(time.perf_counter() - began)
    return Outcome(sum(samples), len(samples), len(samples), percentiles(samples))


async def _list(client: _Client, task: Task) -> Outcome:
    began = time.perf_counter()
    objects, _, first = await client.list(task.names[0])
    seconds = time.perf_counter() - began
    return Outcome(seconds, operations=len(objects), figures={"first_entry_seconds": first})


async def _walk(client: _Client, task: Task) -> Outcome:
    """List a tree of folders, with one request at a time."""
    began = time.perf_counter()
    waiting = [task.names[0]]
    count = 0
    while waiting:
        objects, folders, _ = await client.list(waiting.pop())
        count += len(objects)
        waiting += folders
    return Outcome(time.perf_counter() - began, operations=count)


_WORK: dict[Kind, Callable[[_Client, Task], Awaitable[Outcome]]] = {
    Kind.SEQUENTIAL: _sequential,
    Kind.RANDOM: _random,
    Kind.MAPPED: _sequential,
    Kind.TENSORS: _tensors,
    Kind.FILES: _files,
    Kind.FIRST_BYTE: _first_byte,
    Kind.LIST: _list,
    Kind.WALK: _walk,
}


@asynccontextmanager
async def _connected(endpoint: str, bucket: str) -> AsyncIterator[_Client]:
    settings = ChannelSettings(endpoint, plaintext=True, anonymous=True)
    channels = await open_channels(settings)
    source = random.Random()
    transport = GrpcBidiTransport(channels.connections(_STREAM_CONNECTIONS), settings)
    async with trio.open_nursery() as nursery:
        deferred_calls = DeferredCalls()
        registry = StreamRegistry(transport, RetryPolicy(), source, call_soon=deferred_calls)
        nursery.start_soon(deferred_calls.run)
        nursery.start_soon(registry.run)
        store = GrpcObjectStore(
            channels.connections(1), settings, bucket, policy=UnaryPolicy(), random=source
        )
        # This request opens the connection before the measurement, as the start of a mount does.
        await store.get_bucket()
        yield _Client(bucket, store, registry)
        nursery.cancel_scope.cancel()
    await channels.close_all()


async def _measure(endpoint: str, bucket: str, task: Task) -> None:
    async with _connected(endpoint, bucket) as client:
        cpu = time.process_time()
        outcome = await _WORK[task.kind](client, task)
        outcome.figures["cpu_seconds"] = time.process_time() - cpu
        print(outcome.to_json())


if __name__ == "__main__":
    malloc.tune()
    the_task = Task.from_json(sys.argv[3])
    asyncio_bridge.run(functools.partial(_measure, sys.argv[1], sys.argv[2], the_task))
