"""The emulator itself: a gRPC server over a folder.

    async with Emulator(Path("buckets")) as emulator:
        channel = grpc.aio.insecure_channel(emulator.address)

With `relay_port` there is a second address, `relay_address`, where faults below gRPC happen.
Faults are ordered, and counters read, through `emulator.control` in the same process, and through
the methods that `gcsmux_fs.emulator.control` describes from any other.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from gcsmux_fs.emulator.buckets.checksums import Checksums
from gcsmux_fs.emulator.buckets.placement import LOCATION_TYPES, REGION, Placement
from gcsmux_fs.emulator.buckets.store import Store
from gcsmux_fs.emulator.control import CONTROL_SERVICE, Control
from gcsmux_fs.emulator.proxy.tcp_proxy import TcpProxy, open_listener
from gcsmux_fs.emulator.services.change_service import ChangeService
from gcsmux_fs.emulator.services.folder_service import FolderService
from gcsmux_fs.emulator.services.meta_service import MetaService
from gcsmux_fs.emulator.services.read_service import ReadService
from gcsmux_fs.emulator.services.rpc import Border
from gcsmux_fs.emulator.services.write_service import WriteService
from gcsmux_fs.emulator.shaping import Shape
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    import socket
    from pathlib import Path

__all__ = ["Emulator", "EmulatorError"]

_STORAGE_SERVICE = "google.storage.v2.Storage"
_FOLDER_SERVICE = "google.storage.control.v2.StorageControl"
_OPERATIONS_SERVICE = "google.longrunning.Operations"
# Calls end within milliseconds of the server; only a bug lasts longer.
_STOP_SECONDS = 5.0
_OPTIONS = (
    # Without it a second server could take the same port and half of the calls.
    ("grpc.so_reuseport", 0),
    # What front ends commonly allow on a connection; a client that needs more opens another one.
    ("grpc.max_concurrent_streams", 100),
    # Twice the largest message of a writer (2 MiB of content).
    ("grpc.max_receive_message_length", 4 * 1024 * 1024 + 65536),
    # Clients may ping idle connections as the service lets them, without a GOAWAY.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class EmulatorError(Exception):
    """The emulator cannot start; the message is one sentence."""


class Emulator:
    """Serves the folders in `folder` as buckets while its `async with` block lasts.

    Port 0 picks a free one, to be read from `port`. `latency_seconds` delays every answer,
    `bandwidth_bytes` a second is what each stream may carry at most (0: no limit). `location_type`
    is that of all buckets that CreateBucket has not placed elsewhere. `relay_port`
    gives connections a second port, where they can be broken (see `TcpProxy`). `tls` is the
    files of a certificate and its key, both PEM; without them the port is plaintext.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        latency_seconds: float = 0.0,
        bandwidth_bytes: int = 0,
        location_type: str = REGION,
        faults_file: Path | None = None,
        relay_port: int | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        if not folder.is_dir():
            raise EmulatorError(f"{folder} is not a directory.")
        if location_type not in LOCATION_TYPES:
            raise EmulatorError(f"The location type {location_type!r} is not known.")
        self.host = host
        self.port = port
        self._credentials = None if tls is None else _credentials(*tls)
        self.control = Control(faults_file, has_relay=relay_port is not None, tls=tls is not None)
        shape = Shape(latency_seconds, bandwidth_bytes)
        self._border = Border(shape, self.control)
        self._checksums = checksums = Checksums()
        store = self.control.store = Store(folder, Placement.default(location_type))
        self._meta = MetaService(store, checksums)
        self._change = ChangeService(store, checksums)
        self._folders = FolderService(store)
        self._read = ReadService(store, checksums, shape, self.control)
        self._write = WriteService(store, checksums, shape)
        self._server: grpc.aio.Server | None = None
        self._relay_port = relay_port
        self._relay: TcpProxy | None = None

    @property
    def address(self) -> str:
        """Where clients find it: HOST:PORT."""
        return self._address(self.port)

    @property
    def relay_address(self) -> str:
        """Where clients find the relay in front of it."""
        if self._relay is None:
            raise RuntimeError("this emulator has no relay, or does not run")
        return self._address(self._relay.port)

    def _address(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{port}"

    async def __aenter__(self) -> Emulator:
        _listener(self.host, self.port).close()
        server = grpc.aio.server(handlers=self._handlers(), options=_OPTIONS)
        try:
            if self._credentials is None:
                self.port = server.add_insecure_port(self.address)
            else:
                self.port = server.add_secure_port(self.address, self._credentials)
        except RuntimeError:
            raise EmulatorError(f"Cannot listen on {self.address}.") from None
        await server.start()
        self._server = server
        if self._relay_port is not None:
            relay = TcpProxy(self.control, self.host, self.port)
            try:
                relay.start(_listener(self.host, self._relay_port))
            except EmulatorError:
                await self.__aexit__()
                raise
            self._relay = relay
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop at once: calls under way end with UNAVAILABLE or CANCELLED."""
        if self._relay is not None:
            relay, self._relay = self._relay, None
            await relay.stop()
        if self._server is not None:
            server, self._server = self._server, None
            self._checksums.close()
            await server.stop(None)
            # A call that the loop's end would cancel is one that gRPC reports as an error.
            await self._border.all_ended(_STOP_SECONDS)

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        unary, streaming = self._border.unary, self._border.streaming
        meta, change, folders = self._meta, self._change, self._folders
        read, write = self._read, self._write
        storage = (
            unary("GetBucket", pb.GetBucketRequest, meta.get_bucket),
            unary("ListBuckets", pb.ListBucketsRequest, meta.list_buckets),
            unary("CreateBucket", pb.CreateBucketRequest, meta.create_bucket),
            unary("DeleteBucket", pb.DeleteBucketRequest, meta.delete_bucket),
            unary("GetObject", pb.GetObjectRequest, meta.get_object),
            unary("ListObjects", pb.ListObjectsRequest, meta.list_objects),
            unary("DeleteObject", pb.DeleteObjectRequest, meta.delete_object),
            unary("UpdateObject", pb.UpdateObjectRequest, change.update_object),
            unary("MoveObject", pb.MoveObjectRequest, change.move_object),
            unary("RewriteObject", pb.RewriteObjectRequest, change.rewrite_object),
            unary("ComposeObject", pb.ComposeObjectRequest, change.compose_object),
            streaming("BidiReadObject", pb.BidiReadObjectRequest, read.bidi_read_object),
            streaming("ReadObject", pb.ReadObjectRequest, read.read_object),
            streaming("WriteObject", pb.WriteObjectRequest, write.write_object),
            streaming("BidiWriteObject", pb.BidiWriteObjectRequest, write.bidi_write_object),
            unary(
                "StartResumableWrite", pb.StartResumableWriteRequest, write.start_resumable_write
            ),
            unary("QueryWriteStatus", pb.QueryWriteStatusRequest, write.query_write_status),
            unary(
                "CancelResumableWrite",
                pb.CancelResumableWriteRequest,
                write.cancel_resumable_write,
            ),
        )
        of_folders = (
            unary("GetStorageLayout", pb.GetStorageLayoutRequest, folders.get_storage_layout),
            unary("GetFolder", pb.GetFolderRequest, folders.get_folder),
            unary("ListFolders", pb.ListFoldersRequest, folders.list_folders),
            unary("CreateFolder", pb.CreateFolderRequest, folders.create_folder),
            unary("DeleteFolder", pb.DeleteFolderRequest, folders.delete_folder),
            unary(
                "DeleteFolderRecursive",
                pb.DeleteFolderRecursiveRequest,
                folders.delete_folder_recursive,
            ),
            unary("RenameFolder", pb.RenameFolderRequest, folders.rename_folder),
        )
        operations = (unary("GetOperation", pb.GetOperationRequest, folders.get_operation),)
        control = (
            self._border.raw("Stats", self.control.answer_stats),
            self._border.raw("Faults", self.control.answer_faults),
        )
        return [
            grpc.method_handlers_generic_handler(_STORAGE_SERVICE, dict(storage)),
            grpc.method_handlers_generic_handler(_FOLDER_SERVICE, dict(of_folders)),
            grpc.method_handlers_generic_handler(_OPERATIONS_SERVICE, dict(operations)),
            grpc.method_handlers_generic_handler(CONTROL_SERVICE, dict(control)),
        ]


def _credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    try:
        # gRPC would take anything, and refuse its clients.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        pair = (key.read_bytes(), certificate.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise EmulatorError(f"Cannot use {certificate} with {key}: {reason}.") from None
    return grpc.ssl_server_credentials([pair])


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens; gRPC by itself would not say why an address cannot be had."""
    try:
        return open_listener(host, port)
    except OSError as error:
        # Python adds the address in parentheses.
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise EmulatorError(f"Cannot listen on {host}:{port}: {reason}.") from None
