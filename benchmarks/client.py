"""Our client without FUSE: the mux alone, as fast as it takes ranges; the limit for the mount.

Run as a program in a process of its own: `client.py ENDPOINT BUCKET OBJECT`. Prints one JSON line
with `bytes`, `seconds` and `cpu_seconds` of reading the object once, from its first byte to its
last, with `WINDOW_BYTES` asked for ahead in ranges of `RANGE_BYTES`.
"""

from __future__ import annotations

import functools
import json
import random
import sys
import time
from typing import TYPE_CHECKING

import trio

from gcsmux_fs import allocator
from gcsmux_fs.model import ObjectKey
from gcsmux_fs.mux.pool import StreamPool
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.storage import crossing
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.channel import ChannelSettings, close_channel, open_channel
from gcsmux_fs.storage.unary import GrpcObjectStore, UnaryPolicy

if TYPE_CHECKING:
    from gcsmux_fs.errors import StorageError
    from gcsmux_fs.model import ObjectInfo

MIB = 1024 * 1024
RANGE_BYTES = 2 * MIB
WINDOW_BYTES = 64 * MIB


async def read_all(pool: StreamPool, key: ObjectKey, size: int) -> int:
    """Read the object once; return the number of bytes that came."""
    received = 0
    offset = 0
    room = trio.Semaphore(WINDOW_BYTES // RANGE_BYTES)
    failures: list[StorageError] = []

    def done(outcome: memoryview | StorageError) -> None:
        nonlocal received
        room.release()
        if isinstance(outcome, memoryview):
            received += len(outcome)
        else:
            failures.append(outcome)

    while offset < size and not failures:
        await room.acquire()
        length = min(RANGE_BYTES, size - offset)
        pool.request(key, offset, length, done)
        offset += length
    for _ in range(WINDOW_BYTES // RANGE_BYTES):
        await room.acquire()
    if failures:
        raise failures[0]
    return received


async def measure(endpoint: str, bucket: str, name: str) -> None:
    """Read the object and print what it took."""
    settings = ChannelSettings(endpoint, plaintext=True, anonymous=True)
    channel = await open_channel(settings)
    source = random.Random()
    store = GrpcObjectStore(channel, settings, bucket, policy=UnaryPolicy(), random=source)
    info: ObjectInfo = await store.get_object(name)
    transport = GrpcBidiTransport(channel, settings)
    async with trio.open_nursery() as nursery:
        call_soon = trio.lowlevel.current_trio_token().run_sync_soon
        pool = StreamPool(transport, RetryPolicy(), source, call_soon=call_soon)
        nursery.start_soon(pool.run)
        began, cpu = time.perf_counter(), time.process_time()
        count = await read_all(pool, ObjectKey(bucket, name, info.generation), info.size)
        result = {
            "bytes": count,
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
        }
        nursery.cancel_scope.cancel()
    await close_channel(channel)
    print(json.dumps(result))


if __name__ == "__main__":
    allocator.tune()
    crossing.run(functools.partial(measure, *sys.argv[1:4]))
