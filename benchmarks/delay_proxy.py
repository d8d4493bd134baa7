"""A TCP proxy that delays responses, for a server that has no option for latency.

Run as `delay_proxy.py LISTEN_PORT TARGET_PORT MILLISECONDS`. Pieces overlap on their way, so the
proxy limits the latency and not the bandwidth. Requests are not delayed.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

__all__: list[str] = []

_PIECE_BYTES = 1 << 20
# The content on its way per connection. It sustains 1 GB/s at 50 ms.
_PIECES = 64


async def _deliver(
    pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, piece = await pieces.get()
        if (wait := due - clock()) > 0:
            await asyncio.sleep(wait)
        if not piece:
            writer.close()
            return
        writer.write(piece)
        await writer.drain()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    """Copy a stream from `reader` to `writer` until its end, each piece `seconds` late."""
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES)
    clock = asyncio.get_running_loop().time
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_deliver(pieces, writer))
        piece = b"-"
        while piece:
            piece = await reader.read(_PIECE_BYTES)
            await pieces.put((clock() + seconds, piece))


async def _serve(port: int, target: int, seconds: float) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_carry(reader, far_writer, 0))
                tasks.create_task(_carry(far_reader, writer, seconds))
        except* ConnectionError:
            pass  # One side has closed the connection.
        finally:
            far_writer.close()
            writer.close()

    server = await asyncio.start_server(connect, "127.0.0.1", port, limit=4 * _PIECE_BYTES)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
