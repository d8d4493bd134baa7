"""Measure gRPC alone: random reads on one BidiReadObject stream, without our client.

Run as `raw_grpc.py ENDPOINT BUCKET TASK`; it prints the outcome.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time

import grpc.aio

from benchmarks.tasks import Outcome, Task, percentiles
from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__: list[str] = []


async def _measure(endpoint: str, bucket: str, task: Task) -> Outcome:
    source = random.Random(task.seed)
    places = task.size_bytes // task.block_bytes
    spec = pb.BidiReadObjectSpec(bucket=f"projects/_/buckets/{bucket}", object=task.names[0])

    def request(number: int) -> bytes:
        offset = source.randrange(places) * task.block_bytes
        read_range = pb.ReadRange(read_id=number, read_offset=offset, read_length=task.block_bytes)
        return pb.BidiReadObjectRequest(read_ranges=[read_range]).SerializeToString()

    async with grpc.aio.insecure_channel(endpoint) as channel:
        start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/google.storage.v2.Storage/BidiReadObject"
        )
        call = start()
        await call.write(pb.BidiReadObjectRequest(read_object_spec=spec).SerializeToString())
        await call.read()
        began, cpu = time.perf_counter(), time.process_time()
        sent_at: dict[int, float] = {}
        samples: list[float] = []

        async def send(number: int) -> None:
            sent_at[number] = time.perf_counter()
            await call.write(request(number))

        for number in range(task.threads):
            await send(number + 1)
        done = 0
        while time.perf_counter() - began < task.seconds:
            answer = await call.read()
            assert isinstance(answer, bytes), "the stream ended during the measurement"
            for each in pb.BidiReadObjectResponse.FromString(answer).object_data_ranges:
                if each.range_end:
                    done += 1
                    samples.append(time.perf_counter() - sent_at.pop(each.read_range.read_id))
                    await send(task.threads + done)
        seconds = time.perf_counter() - began
        figures = {"cpu_seconds": time.process_time() - cpu}
        call.cancel()
    return Outcome(seconds, done * task.block_bytes, done, percentiles(samples), figures)


if __name__ == "__main__":
    the_task = Task.from_json(sys.argv[3])
    print(asyncio.run(_measure(sys.argv[1], sys.argv[2], the_task)).to_json())
