"""The checks of this machine and of its way to the service."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, TypeVar

import trio

from gcsmux_fs.doctor import machine_findings, network_findings, network_probes
from gcsmux_fs.doctor.cache_facts import look_at_cache
from gcsmux_fs.doctor.cache_findings import cache_finding
from gcsmux_fs.doctor.certificates import parse_certificate, trusted_roots
from gcsmux_fs.doctor.checklist import Finding, failure, healthy
from gcsmux_fs.doctor.machine_facts import MachineFacts, look_at_machine
from gcsmux_fs.doctor.proxy_rules import proxy_finding, proxy_for
from gcsmux_fs.fuse.mountinfo import mount_table
from gcsmux_fs.fuse.observer import observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.doctor.network_probes import Address
    from gcsmux_fs.doctor.subject import Subject

__all__ = ["MachineChecks", "NetworkChecks", "in_thread"]

T = TypeVar("T")

# At most this many addresses of the service are tried. gRPC also tries several.
_MAX_ADDRESSES = 4


async def in_thread(function: Callable[[], T]) -> T:
    """Call a blocking function in a thread. If this task is cancelled, abandon the thread."""
    return await trio.to_thread.run_sync(function, abandon_on_cancel=True)


class MachineChecks:
    """The checks of this machine. Each method makes the check of the same name."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._known_facts: MachineFacts | None = None

    async def fuse(self) -> Finding:
        """Check whether this user can mount by FUSE."""
        return machine_findings.fuse_finding(await self._facts())

    async def other_users(self) -> Finding:
        """Check whether other users can be given access."""
        access = (await self._facts()).access
        return machine_findings.other_users_finding(access, required=self._subject.allow_other)

    async def mount_point(self) -> Finding:
        """Check whether the mount point can be mounted on."""
        path = self._subject.mountpoint
        seconds = self._subject.call_seconds
        observation = (
            None
            if path is None
            else await in_thread(lambda: observe(path, timeout_seconds=seconds))
        )
        return machine_findings.mount_point_finding(observation, mount_table(), user=os.geteuid())

    async def open_files(self) -> Finding:
        """Check the limit of open files."""
        return machine_findings.open_files_finding(await self._facts())

    async def memory(self) -> Finding:
        """Check whether the memory suffices for the budget."""
        return machine_findings.memory_finding(await self._facts(), self._subject.memory_bytes)

    async def kernel(self) -> Finding:
        """Check the kernel's release and limits."""
        return machine_findings.kernel_finding(await self._facts())

    async def read_ahead(self) -> Finding:
        """Check whether the kernel's readahead window can be set."""
        return machine_findings.read_ahead_finding(await self._facts())

    async def cache(self) -> Finding:
        """Check the directory of the cache on disk, and the speed of its disk."""
        options = self._subject.cache
        if options is None:
            return cache_finding(None, None)
        return cache_finding(options, await in_thread(lambda: look_at_cache(options)))

    async def _facts(self) -> MachineFacts:
        if self._known_facts is None:
            self._known_facts = await in_thread(look_at_machine)
        return self._known_facts


class NetworkChecks:
    """The checks of the way to the service. Each method makes the check of the same name."""

    def __init__(self, subject: Subject) -> None:
        settings = subject.settings
        host, _, port = settings.endpoint.rpartition(":")
        self._subject = subject
        self._endpoint = settings.endpoint
        self._plaintext = settings.plaintext
        self._host = host.strip("[]")
        self._port = int(port)
        self._roots = trusted_roots(settings.ca_file, os.environ)
        self._proxy = proxy_for(self._host, os.environ, plaintext=settings.plaintext)
        self._addresses: list[Address] = []
        self._reached: Address | None = None

    async def proxy(self) -> Finding:
        """Check the variables that name an HTTP proxy."""
        return proxy_finding(self._host, os.environ, plaintext=self._plaintext)

    async def name(self) -> Finding:
        """Resolve the name of the service, or of the proxy."""
        host, port = self._host, self._port
        if self._proxy is not None:
            host, port = self._proxy.host, self._proxy.port
        answer = await in_thread(lambda: network_probes.resolve(host, port))
        if not isinstance(answer, str):
            self._addresses = answer[:_MAX_ADDRESSES]
        return network_findings.name_finding(host, answer, self._proxy)

    async def connection(self) -> Finding:
        """Connect to the service, or to the proxy."""
        seconds = self._subject.call_seconds / len(self._addresses)
        attempts = await in_thread(lambda: network_probes.connect(self._addresses, timeout=seconds))
        reached = [attempt for attempt in attempts if not attempt.error]
        if reached:
            self._reached = min(reached, key=lambda attempt: attempt.seconds).address
        return network_findings.connection_finding(attempts, self._proxy)

    async def tls(self) -> Finding:
        """Make a TLS handshake."""
        if self._plaintext:
            return healthy("not used: the connection is plaintext")
        address = self._reached
        assert address is not None
        if not self._roots.is_file():
            return failure(
                f"the file of root certificates {self._roots} does not exist",
                "correct or unset GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
            )
        seconds = self._subject.call_seconds
        facts = await in_thread(
            lambda: network_probes.shake_hands(
                address, self._endpoint, self._roots, self._proxy, timeout=seconds
            )
        )
        certificate = parse_certificate(facts.certificate)
        now = dt.datetime.now(tz=dt.UTC)
        return network_findings.tls_finding(self._host, facts, certificate, now)

    async def clock(self) -> Finding:
        """Compare the clock of the service with the local clock."""
        address = self._reached
        assert address is not None
        if self._plaintext:
            return network_findings.clock_finding(None)
        seconds = self._subject.call_seconds
        answer = await in_thread(
            lambda: network_probes.server_date(
                address, self._endpoint, self._roots, self._proxy, timeout=seconds
            )
        )
        return network_findings.clock_finding(answer)
