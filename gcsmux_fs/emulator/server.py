"""The emulator's gRPC server.

    async with Emulator(Path("buckets")) as emulator:
        channel = grpc.aio.insecure_channel(emulator.address)

Pub/Sub is served at the same address: topics, subscriptions, and notifications of changed objects.
With `json_port`, an HTTP server at `json_address` answers requests of the JSON API for notification
configurations.

With `relay_port`, a TCP proxy listens on a second address, `relay_address`. Faults of connections
happen only to clients that connect to the TCP proxy. Code in the same process sets the rules for
faults and reads the counters through `emulator.control`. Other processes call the methods of the
control service, which `gcsmux_fs.emulator.control` describes.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from gcsmux_fs.emulator.access_tokens import AccessTokens
from gcsmux_fs.emulator.buckets.checksums import Checksums
from gcsmux_fs.emulator.buckets.placement import LOCATION_TYPES, REGION, Placement
from gcsmux_fs.emulator.buckets.store import BucketStore
from gcsmux_fs.emulator.call_counters import CallCounters
from gcsmux_fs.emulator.control import CONTROL_SERVICE, Control
from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
from gcsmux_fs.emulator.proxy.tcp_proxy import TcpProxy, open_listener
from gcsmux_fs.emulator.pubsub.json_server import JsonServer
from gcsmux_fs.emulator.pubsub.pubsub_methods import PubsubMethods
from gcsmux_fs.emulator.services.change_service import ChangeService
from gcsmux_fs.emulator.services.folder_service import FolderService
from gcsmux_fs.emulator.services.meta_service import MetaService
from gcsmux_fs.emulator.services.method_handlers import MethodHandlers
from gcsmux_fs.emulator.services.read_service import ReadService
from gcsmux_fs.emulator.services.write_service import WriteService
from gcsmux_fs.emulator.shaping import Shape
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Emulator", "EmulatorError"]

_STORAGE_SERVICE = "google.storage.v2.Storage"
_FOLDER_SERVICE = "google.storage.control.v2.StorageControl"
_OPERATIONS_SERVICE = "google.longrunning.Operations"
# Maximum time, in seconds, to wait for the end of all calls after the server has stopped. All calls
# end within milliseconds, unless a bug makes a call last longer.
_STOP_SECONDS = 5.0
_OPTIONS = (
    # With SO_REUSEPORT, a second server could listen on the same port and get half of the calls.
    ("grpc.so_reuseport", 0),
    # Maximum number of concurrent streams per connection. Many servers have this limit. A client
    # that needs more streams opens another connection.
    ("grpc.max_concurrent_streams", 100),
    # Maximum size of a request in bytes. The largest message of a writer has 2 MiB of content,
    # which is about half of this limit.
    ("grpc.max_receive_message_length", 4 * 1024 * 1024 + 65536),
    # Allow pings on idle connections, as the service does, and never answer pings with a GOAWAY.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class EmulatorError(Exception):
    """The emulator cannot start. The message is one sentence with the reason."""


class Emulator:
    """Serves the folders in `folder` as buckets while its `async with` block runs.

    - `port`: the port to listen on. 0 picks a free port, whose number is then in the attribute
      `port`.
    - `latency_seconds`: delay of every response after its request.
    - `bandwidth_bytes`: maximum bytes of content per second on each stream; 0 sets no limit.
    - `location_type`: the location type of all buckets except those that CreateBucket creates.
    - `versioning`, `soft_delete_seconds`: whether these buckets keep overwritten and deleted
      generations, and how long they keep generations that would otherwise be lost.
    - `faults_file`: a JSON file that lists the faults to cause. The emulator reads the file again
      when it changes.
    - `relay_port`: the port of the TCP proxy; 0 picks a free port, None starts no TCP proxy.
    - `tls`: the PEM files of a certificate and its private key; None: do not use TLS.
    - `tokens_file`: a file with one access token per line. Calls without one of these tokens fail
      with UNAUTHENTICATED. The emulator reads the file for each call.
    - `json_port`: the port of the JSON API; 0 picks a free port, None starts no HTTP server.
    - `changes`: subscriptions to create, each with the bucket whose changes it receives. An empty
      text stands for all buckets.

    Raises:
        EmulatorError: an argument cannot be used.
        RpcError: the faults file does not hold valid rules, or a subscription has no valid name.
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
        versioning: bool = False,
        soft_delete_seconds: float = 0.0,
        faults_file: Path | None = None,
        relay_port: int | None = None,
        tls: tuple[Path, Path] | None = None,
        tokens_file: Path | None = None,
        json_port: int | None = None,
        changes: Sequence[tuple[str, str]] = (),
    ) -> None:
        if not folder.is_dir():
            raise EmulatorError(
                f"{folder} is not a directory: create it, with one folder for each bucket."
            )
        if location_type not in LOCATION_TYPES:
            raise EmulatorError(
                f"Unknown location type {location_type!r}: use {' or '.join(LOCATION_TYPES)}."
            )
        self.host = host
        self.port = port
        self._credentials = None if tls is None else _load_credentials(*tls)
        counters = CallCounters()
        default = Placement.default(
            location_type, versioning=versioning, soft_delete_seconds=soft_delete_seconds
        )
        store = BucketStore(folder, default)
        self._orders = orders = FaultOrders(
            store,
            counters.faults,
            faults_file,
            has_proxy=relay_port is not None,
            tls=tls is not None,
        )
        self.control = Control(counters, orders)
        shape = Shape(latency_seconds, bandwidth_bytes)
        tokens = AccessTokens(tokens_file, counters.tokens)
        self._handlers = MethodHandlers(shape, orders, counters, tokens)
        self._checksums = checksums = Checksums()
        self._meta = MetaService(store, checksums)
        self._change = ChangeService(store, checksums)
        self._folders = FolderService(store)
        self._read = ReadService(store, checksums, shape, orders, counters)
        self._write = WriteService(store, checksums, shape)
        self._pubsub = PubsubMethods(store, checksums, orders, self._handlers, tokens)
        for subscription, bucket in changes:
            self._pubsub.subscribe(subscription, bucket)
        self._server: grpc.aio.Server | None = None
        self._proxy_port = relay_port
        self._proxy: TcpProxy | None = None
        self._json_port = json_port
        self._json: JsonServer | None = None

    @property
    def address(self) -> str:
        """The address of the server: HOST:PORT."""
        return self._address(self.port)

    @property
    def relay_address(self) -> str:
        """The address of the TCP proxy: HOST:PORT.

        Raises:
            RuntimeError: no TCP proxy is running.
        """
        if self._proxy is None:
            raise RuntimeError("No TCP proxy is running: pass relay_port, and use `async with`.")
        return self._address(self._proxy.port)

    @property
    def json_address(self) -> str:
        """The address of the JSON API: HOST:PORT.

        Raises:
            RuntimeError: no HTTP server is running.
        """
        if self._json is None:
            raise RuntimeError("No HTTP server is running: pass json_port, and use `async with`.")
        return self._address(self._json.port)

    def _address(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{port}"

    async def __aenter__(self) -> Emulator:
        _open_listener(self.host, self.port).close()
        server = grpc.aio.server(handlers=self._services(), options=_OPTIONS)
        try:
            if self._credentials is None:
                self.port = server.add_insecure_port(self.address)
            else:
                self.port = server.add_secure_port(self.address, self._credentials)
        except RuntimeError:
            raise EmulatorError(f"Cannot listen on {self.address}.") from None
        await server.start()
        self._server = server
        self._pubsub.files.start()
        if self._proxy_port is not None:
            proxy = TcpProxy(self._orders, self.host, self.port)
            try:
                proxy.start(_open_listener(self.host, self._proxy_port))
            except EmulatorError:
                await self.__aexit__()
                raise
            self._proxy = proxy
        if self._json_port is not None:
            try:
                self._json = JsonServer(self.host, self._json_port, self._pubsub.json.answer)
            except OSError as error:
                await self.__aexit__()
                raise EmulatorError(
                    f"Cannot listen on {self._address(self._json_port)}: {error.strerror}."
                ) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the emulator at once. Calls that are open end with UNAVAILABLE or CANCELLED."""
        if self._json is not None:
            json_server, self._json = self._json, None
            await json_server.stop()
        if self._proxy is not None:
            proxy, self._proxy = self._proxy, None
            await proxy.stop()
        self._pubsub.files.stop()
        if self._server is not None:
            server, self._server = self._server, None
            self._checksums.close()
            await server.stop(None)
            # Wait here, because gRPC logs an error for each call that is still running when the
            # event loop ends.
            await self._handlers.wait_for_calls(_STOP_SECONDS)

    def _services(self) -> list[grpc.GenericRpcHandler]:
        unary, raw = self._handlers.unary, self._handlers.raw
        folders, control = self._folders, self.control
        folder_methods = (
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
        operation_methods = (unary("GetOperation", pb.GetOperationRequest, folders.get_operation),)
        control_methods = (raw("Stats", control.stats), raw("Faults", control.faults))
        pubsub_services = self._pubsub.services()
        return [
            grpc.method_handlers_generic_handler(
                _STORAGE_SERVICE, self._metadata_methods() | self._content_methods()
            ),
            grpc.method_handlers_generic_handler(_FOLDER_SERVICE, dict(folder_methods)),
            grpc.method_handlers_generic_handler(_OPERATIONS_SERVICE, dict(operation_methods)),
            grpc.method_handlers_generic_handler(
                CONTROL_SERVICE, dict(control_methods) | self._pubsub.control_methods()
            ),
            *(
                grpc.method_handlers_generic_handler(service, methods)
                for service, methods in pubsub_services.items()
            ),
        ]

    def _metadata_methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Return the handlers of Storage's unary methods for buckets and objects, by method."""
        unary, meta, change = self._handlers.unary, self._meta, self._change
        methods = (
            unary("GetBucket", pb.GetBucketRequest, meta.get_bucket),
            unary("ListBuckets", pb.ListBucketsRequest, meta.list_buckets),
            unary("CreateBucket", pb.CreateBucketRequest, meta.create_bucket),
            unary("DeleteBucket", pb.DeleteBucketRequest, meta.delete_bucket),
            unary("GetObject", pb.GetObjectRequest, meta.get_object),
            unary("ListObjects", pb.ListObjectsRequest, meta.list_objects),
            unary("DeleteObject", pb.DeleteObjectRequest, meta.delete_object),
            unary("RestoreObject", pb.RestoreObjectRequest, meta.restore_object),
            unary("UpdateObject", pb.UpdateObjectRequest, change.update_object),
            unary("MoveObject", pb.MoveObjectRequest, change.move_object),
            unary("RewriteObject", pb.RewriteObjectRequest, change.rewrite_object),
            unary("ComposeObject", pb.ComposeObjectRequest, change.compose_object),
        )
        return dict(methods)

    def _content_methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Return the handlers of Storage's methods that read and write content, by method."""
        unary, streaming = self._handlers.unary, self._handlers.streaming
        read, write = self._read, self._write
        methods = (
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
        return dict(methods)


def _load_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    try:
        # Check the files here, because gRPC accepts any bytes and fails only when a client
        # connects.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        pair = (key.read_bytes(), certificate.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise EmulatorError(
            f"Cannot use the certificate {certificate} with the key {key}: {reason}."
        ) from None
    return grpc.ssl_server_credentials([pair])


def _open_listener(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    If the address cannot be used, the EmulatorError gives the reason. An error of gRPC would give
    no reason.
    """
    try:
        return open_listener(host, port)
    except OSError as error:
        # Cut off the address, which Python adds to the reason in parentheses.
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise EmulatorError(f"Cannot listen on {host}:{port}: {reason}.") from None
