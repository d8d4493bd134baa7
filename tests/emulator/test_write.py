from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import crc32c
import grpc
import pytest
from google.api_core import exceptions
from google.cloud import _storage_v2
from google.cloud.storage.asyncio.async_appendable_object_writer import (
    AsyncAppendableObjectWriter,
)

from gcsmux_fs.storage.pb import storage_pb2 as pb
from tests.support.sizes import MIB

from .clients import BUCKET, Clients, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUANTUM = 256 * 1024


def spec(name: str = "f", **fields: Any) -> dict[str, Any]:
    resource = {"bucket": BUCKET, "name": name, **fields.pop("resource", {})}
    return {"resource": resource, **fields}


async def write(clients: Clients, *requests: dict[str, Any]) -> Any:
    async def messages() -> AsyncIterator[Any]:
        for request in requests:
            yield _storage_v2.WriteObjectRequest(request)

    return await (await clients.generated.write_object(messages()))


def data_message(content: bytes, offset: int = 0, **fields: Any) -> dict[str, Any]:
    checked = {"content": content, "crc32c": crc32c.crc32c(content)}
    return {"write_offset": offset, "checksummed_data": checked, **fields}


@pytest.mark.parametrize(
    "name", ["f", "new/folder/f", "a//b", "/", "a/../b", "trailing/", "ü" * 300]
)
def test_an_object_of_any_name_is_written_and_read_back(served: Path, name: str) -> None:
    resource = {"content_type": "x/y", "metadata": {"k": "v"}, "cache_control": "no-store"}

    async def scenario(clients: Clients) -> None:
        response = await write(
            clients,
            data_message(
                b"hello", write_object_spec=spec(name, resource=resource), finish_write=True
            ),
        )
        stored = await clients.google.get_object("b", name)
        assert response.resource == stored
        assert (name, 5, "x/y", "no-store") == (
            stored.name,
            stored.size,
            stored.content_type,
            stored.cache_control,
        )
        assert dict(stored.metadata) == {"k": "v"}
        assert stored.checksums.crc32c == crc32c.crc32c(b"hello")
        stream = await clients.generated.read_object({"bucket": BUCKET, "object_": name})
        assert b"".join([part.checksummed_data.content async for part in stream]) == b"hello"
        listed = await clients.generated.list_objects(parent=BUCKET)
        assert [name] == [resource.name async for resource in listed]

    serve(served, scenario)


def test_an_object_is_written_in_several_messages(served: Path, bucket: Path) -> None:
    data = random.Random(6).randbytes(5 * MIB + 7)

    async def scenario(clients: Clients) -> None:
        checksums = {"crc32c": crc32c.crc32c(data)}
        await write(
            clients,
            data_message(data[: 2 * MIB], write_object_spec=spec()),
            data_message(data[2 * MIB : 4 * MIB], 2 * MIB),
            data_message(data[4 * MIB :], 4 * MIB, finish_write=True, object_checksums=checksums),
        )
        assert data == (bucket / "f").read_bytes()

    serve(served, scenario)


@pytest.mark.parametrize(
    ("requests", "error"),
    [
        ([data_message(b"", finish_write=True)], exceptions.InvalidArgument),
        ([], exceptions.InvalidArgument),
        ([data_message(bytes(QUANTUM), write_object_spec=spec())], exceptions.InvalidArgument),
        (
            [
                data_message(b"odd", write_object_spec=spec()),
                data_message(b"", 3, finish_write=True),
            ],
            exceptions.InvalidArgument,
        ),
        (
            [data_message(b"x", 5, write_object_spec=spec(), finish_write=True)],
            exceptions.OutOfRange,
        ),
        (
            [
                {
                    "write_object_spec": spec(),
                    "checksummed_data": {"content": b"x", "crc32c": 1},
                    "finish_write": True,
                }
            ],
            exceptions.InvalidArgument,
        ),
        (
            [
                data_message(
                    b"x",
                    write_object_spec=spec(),
                    finish_write=True,
                    object_checksums={"crc32c": 1},
                )
            ],
            exceptions.InvalidArgument,
        ),
        (
            [data_message(b"x", write_object_spec=spec(object_size=2), finish_write=True)],
            exceptions.InvalidArgument,
        ),
        (
            [data_message(bytes(2 * MIB + 1), write_object_spec=spec(), finish_write=True)],
            exceptions.InvalidArgument,
        ),
        (
            [data_message(b"x", write_object_spec=spec(if_generation_match=5), finish_write=True)],
            exceptions.FailedPrecondition,
        ),
        (
            [
                data_message(bytes(QUANTUM), write_object_spec=spec()),
                data_message(b"x", QUANTUM, write_object_spec=spec(), finish_write=True),
            ],
            exceptions.InvalidArgument,
        ),
        (
            [data_message(b"x", write_object_spec=spec(""), finish_write=True)],
            exceptions.InvalidArgument,
        ),
        ([data_message(b"x", upload_id="unknown", finish_write=True)], exceptions.NotFound),
    ],
    ids=[
        "no spec",
        "no message",
        "not finished",
        "odd length",
        "gap",
        "chunk checksum",
        "object checksum",
        "object size",
        "too long",
        "condition",
        "second spec",
        "no name",
        "unknown upload",
    ],
)
def test_a_failed_write_keeps_the_old_object_and_leaves_no_file(
    served: Path, bucket: Path, requests: list[dict[str, Any]], error: type[Exception]
) -> None:
    (bucket / "f").write_bytes(b"old")

    async def scenario(clients: Clients) -> None:
        with pytest.raises(error):
            await write(clients, *requests)
        assert (bucket / "f").read_bytes() == b"old"
        metadata_folder = served / ".gcsmux-emulator" / "b"
        left = list(metadata_folder.iterdir()) if metadata_folder.exists() else []
        assert left == []

    serve(served, scenario)


def test_if_generation_match_0_lets_only_one_writer_succeed(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        message = data_message(
            b"x", write_object_spec=spec(if_generation_match=0), finish_write=True
        )
        await write(clients, message)
        with pytest.raises(exceptions.FailedPrecondition):
            await write(clients, message)

    serve(served, scenario)


def test_an_upload_resumes_at_its_persisted_size(served: Path, bucket: Path) -> None:
    data = random.Random(7).randbytes(3 * QUANTUM)

    async def scenario(clients: Clients) -> None:
        started = await clients.generated.start_resumable_write({"write_object_spec": spec()})
        upload = {"upload_id": started.upload_id}
        response = await write(clients, data_message(data[:QUANTUM], **upload))
        assert response.persisted_size == QUANTUM
        assert not (bucket / "f").exists()
        status = await clients.generated.query_write_status(upload)
        assert status.persisted_size == QUANTUM
        # This message starts at offset 0 again. The emulator skips the bytes that it has already
        # received.
        response = await write(clients, data_message(data, 0, finish_write=True, **upload))
        assert response.resource.size == len(data)
        assert data == (bucket / "f").read_bytes()
        status = await clients.generated.query_write_status(upload)
        assert response.resource == status.resource

    serve(served, scenario)


def test_an_upload_with_a_failed_condition_does_not_start(served: Path, bucket: Path) -> None:
    (bucket / "f").touch()

    async def scenario(clients: Clients) -> None:
        with pytest.raises(exceptions.FailedPrecondition):
            await clients.generated.start_resumable_write(
                {"write_object_spec": spec(if_generation_match=0)}
            )

    serve(served, scenario)


def test_a_cancelled_upload_is_not_found(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        started = await clients.generated.start_resumable_write({"write_object_spec": spec()})
        upload = {"upload_id": started.upload_id}
        await clients.generated.cancel_resumable_write(upload)
        with pytest.raises(exceptions.NotFound):
            await clients.generated.query_write_status(upload)
        assert list((served / ".gcsmux-emulator" / "b").iterdir()) == []

    serve(served, scenario)


@pytest.mark.parametrize("name", ["app", "folder/app", "app//x"])
def test_googles_appendable_writer_flushes_resumes_and_finalizes(served: Path, name: str) -> None:
    data = random.Random(8).randbytes(19 * MIB)

    async def scenario(clients: Clients) -> None:
        writer = AsyncAppendableObjectWriter(clients.google, "b", name)
        await writer.open()
        await writer.append(data[: 5 * MIB])
        assert await writer.flush() == 5 * MIB
        assert await writer.state_lookup() == 5 * MIB
        await writer.close()
        unfinalized = await clients.google.get_object("b", name)
        assert (unfinalized.size, unfinalized.finalize_time) == (5 * MIB, None)
        assert not unfinalized.checksums

        writer = AsyncAppendableObjectWriter(
            clients.google, "b", name, generation=unfinalized.generation
        )
        await writer.open()
        assert writer.offset == 5 * MIB
        await writer.append(data[5 * MIB :])
        finalized = await writer.finalize(full_object_checksum=crc32c.crc32c(data))
        assert (unfinalized.generation, len(data)) == (finalized.generation, finalized.size)
        assert finalized.finalize_time
        resource = await clients.google.get_object("b", name)
        assert finalized == resource

    async def restarted(clients: Clients) -> None:
        stream = await clients.generated.read_object({"bucket": BUCKET, "object_": name})
        assert data == b"".join([part.checksummed_data.content async for part in stream])

    serve(served, scenario)
    serve(served, restarted)


def test_an_appendable_object_continues_after_a_restart(served: Path) -> None:
    generations = []

    async def begin(clients: Clients) -> None:
        writer = AsyncAppendableObjectWriter(clients.google, "b", "app")
        await writer.open()
        await writer.append(b"one,")
        await writer.close()
        generations.append(writer.generation)

    async def finish(clients: Clients) -> None:
        writer = AsyncAppendableObjectWriter(clients.google, "b", "app", generation=generations[0])
        await writer.open()
        await writer.append(b"two")
        finalized = await writer.finalize(full_object_checksum=crc32c.crc32c(b"one,two"))
        assert (generations[0], 7) == (finalized.generation, finalized.size)

    serve(served, begin)
    serve(served, finish)
    assert (served / "b" / "app").read_bytes() == b"one,two"


def test_a_wrong_checksum_does_not_finalize_an_appendable_object(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        writer = AsyncAppendableObjectWriter(clients.google, "b", "app")
        await writer.open()
        await writer.append(b"one")
        with pytest.raises(exceptions.InvalidArgument):
            await writer.finalize(full_object_checksum=1)
        assert (await clients.google.get_object("b", "app")).finalize_time is None

    serve(served, scenario)


def test_a_second_writer_takes_over_an_appendable_object(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        first = AsyncAppendableObjectWriter(clients.google, "b", "app")
        await first.open()
        await first.append(b"one")
        await first.flush()
        second = AsyncAppendableObjectWriter(
            clients.google, "b", "app", generation=first.generation, write_handle=first.write_handle
        )
        await second.open()
        await first.append(b"lost")
        with pytest.raises(exceptions.FailedPrecondition):
            await first.flush()
        assert await second.flush() == 3
        await second.finalize()
        third = AsyncAppendableObjectWriter(clients.google, "b", "app", generation=first.generation)
        with pytest.raises(exceptions.FailedPrecondition):
            await third.open()

    serve(served, scenario)


def test_generation_0_requires_a_new_appendable_object(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        for expected in (None, exceptions.FailedPrecondition):
            writer = AsyncAppendableObjectWriter(clients.google, "b", "app", generation=0)
            if expected is None:
                await writer.open()
            else:
                with pytest.raises(expected):
                    await writer.open()

    serve(served, scenario)


def test_a_range_is_cut_at_the_size_of_an_appendable_object_at_its_request(
    served: Path,
) -> None:
    async def scenario(clients: Clients) -> None:
        writer = AsyncAppendableObjectWriter(clients.google, "b", "app")
        await writer.open()
        await writer.append(b"one")
        await writer.flush()
        call = clients.call("BidiReadObject", pb.BidiReadObjectResponse)
        read_spec = pb.BidiReadObjectSpec(bucket=BUCKET, object="app")
        await call.write(pb.BidiReadObjectRequest(read_object_spec=read_spec))
        first = await call.read()
        assert isinstance(first, pb.BidiReadObjectResponse)
        assert (first.metadata.size, first.metadata.HasField("finalize_time")) == (3, False)

        async def read_from(read_id: int, offset: int) -> bytes:
            requested = pb.ReadRange(read_id=read_id, read_offset=offset)
            await call.write(pb.BidiReadObjectRequest(read_ranges=[requested]))
            response = await call.read()
            assert isinstance(response, pb.BidiReadObjectResponse)
            (data,) = response.object_data_ranges
            assert data.range_end
            return data.checksummed_data.content

        assert await read_from(1, 0) == b"one"
        await writer.append(b"two")
        await writer.flush()
        assert await read_from(2, 0) == b"onetwo"
        assert await read_from(3, 4) == b"wo"
        assert await read_from(4, -1) == b"o"
        await writer.append(b"three")
        await writer.finalize()
        assert await read_from(5, 6) == b"three"
        await call.write(pb.BidiReadObjectRequest(read_ranges=[pb.ReadRange(read_offset=12)]))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() == grpc.StatusCode.OUT_OF_RANGE

    serve(served, scenario)


def test_an_object_is_written_with_bidi_write_object(served: Path, bucket: Path) -> None:
    async def scenario(clients: Clients) -> None:
        call = clients.call("BidiWriteObject", pb.BidiWriteObjectResponse)
        resource = pb.Object(bucket=BUCKET, name="f")
        await call.write(
            pb.BidiWriteObjectRequest(
                write_object_spec=pb.WriteObjectSpec(resource=resource),
                checksummed_data=pb.ChecksummedData(content=b"one"),
                state_lookup=True,
                flush=True,
            )
        )
        response = await call.read()
        assert isinstance(response, pb.BidiWriteObjectResponse)
        assert response.persisted_size == 3
        assert not (bucket / "f").exists()
        await call.write(pb.BidiWriteObjectRequest(write_offset=3, finish_write=True))
        response = await call.read()
        assert isinstance(response, pb.BidiWriteObjectResponse)
        assert (response.resource.name, response.resource.size) == ("f", 3)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert (bucket / "f").read_bytes() == b"one"

    serve(served, scenario)
