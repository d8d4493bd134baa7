"""Tests that modules import only what docs/ARCHITECTURE.md allows.

A *room* is a subpackage of gcsmux_fs. An *arrow* is a room or module that a room may import.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import gcsmux_fs

PACKAGE = Path(gcsmux_fs.__file__).parent

# For each subpackage (room) of gcsmux_fs: the subpackages and modules that it may import, besides
# itself and `model`. The modules in `TOP_MODULES` may import everything.
ROOMS: dict[str, set[str]] = {
    "model": set(),
    "settings": set(),
    "metrics": set(),
    "process": {"settings", "metrics"},
    "storage": {"settings", "metrics"},
    "mux": {"storage.call_driver", "storage.ports", "settings", "metrics"},
    "reading": {"settings", "metrics"},
    "namespace": {"storage.ports", "settings", "metrics"},
    "changes": {"namespace", "storage.call_driver", "storage.ports", "settings", "metrics"},
    "history": {"storage.ports", "settings", "metrics"},
    "caching": {"namespace", "reading.range_source", "settings", "metrics"},
    "filesystem": {"namespace", "reading", "settings", "metrics"},
    "fuse": {"filesystem", "namespace.tree", "process", "settings", "metrics"},
    "control": {"settings", "metrics", "process", "fuse.mountinfo"},
    "doctor": {
        "caching",
        "connected_service",
        "control",
        "fuse",
        "mux",
        "notifications",
        "process",
        "settings",
        "storage",
    },
    "notifications": {"process.shell_commands", "settings", "storage"},
    "exporters": {"process", "settings", "metrics"},
    "tracing": {"filesystem", "process", "reading.range_source", "storage.ports"},
    "commands": {
        "caching",
        "control",
        "doctor",
        "fuse",
        "metrics",
        "mounting",
        "notifications",
        "process",
        "settings",
        "storage.channels",
    },
    "emulator": {"commands.click_command", "storage.pb", "process", "settings.units"},
    "fsspec_access": {
        "connected_service",
        "namespace",
        "reading",
        "settings",
        "storage.asyncio_bridge",
        "storage.channels",
        "storage.object_store",
        "storage.ports",
    },
}

# For each folder of the emulator: the folders of the emulator that it may import, besides itself.
# Every folder may also import the modules of the emulator that are in no folder, except for
# `EMULATOR_TOP_MODULES`.
EMULATOR_FOLDERS: dict[str, set[str]] = {
    "faults": set(),
    "buckets": set(),
    "injection": {"faults", "buckets"},
    "services": {"injection", "buckets"},
    "proxy": {"injection", "faults"},
    "pubsub": {"injection", "faults", "buckets", "services"},
}
# The modules of the emulator that may import all folders of the emulator. The folders may not
# import these modules.
EMULATOR_TOP_MODULES = {"__main__", "control", "emulator_command", "server"}

TOP_MODULES = {
    "",
    "__main__",
    "cli",
    "connected_bucket",
    "connected_changes",
    "connected_service",
    "historical_bucket",
    "kept_bucket",
    "mount_adaptations",
    "mount_control",
    "mount_report",
    "mounting",
    "timeouts",
}

# The modules that a sans-IO module must not import. A sans-IO module also has no `await`.
IMPURE = {"trio", "asyncio", "time", "logging", "threading"}

# The modules that use an event loop, a clock, a lock or a log. All other modules are sans-IO.
IMPURE_MODULES = {
    "caching.cache_lifetime",
    "caching.disk_cache",
    "caching.disk_calls",
    "caching.direct_writes",
    "caching.disk_names",
    "caching.disk_source",
    "caching.disk_threads",
    "caching.known_chunks",
    "caching.machine_moments",
    "caching.name_directory",
    "caching.space_account",
    "changes.change_feed",
    "changes.freshness_watch",
    "changes.subscription_claim",
    "commands.doctor",
    "commands.mount",
    "commands.top",
    "commands.top_screen",
    "commands.warm_progress",
    "connected_bucket",
    "connected_changes",
    "connected_service",
    "control.control_server",
    "control.loop_calls",
    "control.mount_commands",
    "control.socket_places",
    "doctor.cache_facts",
    "doctor.change_checks",
    "doctor.examination",
    "doctor.local_checks",
    "doctor.network_probes",
    "doctor.read_probe",
    "doctor.service_checks",
    "emulator.buckets.bucket",
    "emulator.buckets.checksums",
    "emulator.buckets.copying",
    "emulator.buckets.file_tree",
    "emulator.control",
    "emulator.emulator_command",
    "emulator.injection.fault_orders",
    "emulator.injection.faulty_call",
    "emulator.injection.response_sender",
    "emulator.proxy.proxied_connection",
    "emulator.proxy.tcp_proxy",
    "emulator.pubsub.delivery_stream",
    "emulator.pubsub.file_watch",
    "emulator.pubsub.json_server",
    "emulator.pubsub.object_notifier",
    "emulator.pubsub.policy_service",
    "emulator.pubsub.publisher_service",
    "emulator.pubsub.pubsub_control",
    "emulator.pubsub.subscriber_service",
    "emulator.server",
    "emulator.services.bidi_stream",
    "emulator.services.change_service",
    "emulator.services.delayed_sender",
    "emulator.services.folder_service",
    "emulator.services.meta_service",
    "emulator.services.read_service",
    "emulator.services.method_handlers",
    "emulator.services.write_service",
    "emulator.shaping",
    "exporters.metrics_server",
    "exporters.mount_exporters",
    "exporters.mount_health",
    "exporters.prometheus_collector",
    "filesystem.bucket_filesystem",
    "filesystem.controlled_filesystem",
    "filesystem.directory_prefetch",
    "filesystem.directory_reader",
    "filesystem.ill_formed_metadata",
    "filesystem.links",
    "filesystem.prefetched_files",
    "filesystem.request_gate",
    "filesystem.shard_prefetch",
    "filesystem.warming",
    "fsspec_access.bucket_names",
    "fsspec_access.engine",
    "fsspec_access.engines",
    "fsspec_access.file_system",
    "fsspec_access.refused_writes",
    "fsspec_access.remote_file",
    "fsspec_access.service_reader",
    "fuse.epoch_notifier",
    "fuse.guard",
    "fuse.kernel_read_ahead",
    "fuse.main_loop",
    "fuse.mountpoint",
    "fuse.mount_signals",
    "fuse.name_dropping",
    "fuse.name_pruning",
    "fuse.negotiation",
    "fuse.operations",
    "fuse.replacement",
    "fuse.request_turns",
    "fuse.session",
    "fuse.start_lock",
    "fuse.submount_search",
    "fuse.wakeups",
    "historical_bucket",
    "history.as_of_store",
    "history.freeze_keeper",
    "history.frozen_store",
    "history.version_store",
    "kept_bucket",
    "mount_control",
    "mounting",
    "mux.shared_stream",
    "mux.stream_registry",
    "namespace.deadline",
    "namespace.directories",
    "namespace.kept_names",
    "namespace.name_lookup",
    "namespace.name_recall",
    "namespace.path_search",
    "namespace.resolver",
    "namespace.service_outage",
    "namespace.single_flight",
    "namespace.tree",
    "notifications.route_services",
    "process.daemon",
    "process.deferred_calls",
    "process.heartbeats",
    "process.log_datagrams",
    "process.log_destinations",
    "process.log_formats",
    "process.log_storms",
    "process.log_streams",
    "process.logs",
    "process.memory_watch",
    "process.readiness",
    "process.watchdog",
    "reading.cache_warming",
    "reading.exact_reads",
    "reading.open_file",
    "reading.open_prefetch",
    "reading.read_context",
    "reading.read_deadlines",
    "reading.read_resources",
    "reading.read_waiting",
    "storage.asyncio_bridge",
    "storage.bidi",
    "storage.bridged_call",
    "storage.bucket_check",
    "storage.call_starter",
    "storage.channels",
    "storage.credentials_source",
    "storage.direct_path",
    "storage.fallback",
    "storage.object_store",
    "storage.ports",
    "storage.pubsub_admin",
    "storage.request_outcomes",
    "storage.streaming_pull",
    "storage.supplied_tokens",
    "storage.token_command",
    "storage.tokens",
    "storage.unary_calls",
    "storage.writable_call",
    "tracing.trace_settings",
    "tracing.traced_filesystem",
    "tracing.tracer_provider",
}

# For each of these foreign packages: the subpackages (rooms) of gcsmux_fs that may import it.
USERS = {
    "grpc": {"storage", "emulator"},
    "google": {"storage", "emulator"},
    "pyfuse3": {"fuse"},
}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "pb" not in path.parts)


def name_of(module: Path) -> str:
    """Return the name of a module relative to the package, such as `mux.core`."""
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(module: Path) -> set[str]:
    """Return the absolute names of all imports of a module, also of those for type checkers."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module}: relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_every_room_is_known() -> None:
    assert {name_of(module).partition(".")[0] for module in modules()} == set(ROOMS) | TOP_MODULES


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_arrows_allow(room: str) -> None:
    allowed = ROOMS[room] | {room, "model", "__version__"}
    for module in modules():
        if name_of(module).partition(".")[0] != room:
            continue
        for name in imports_of(module):
            top, _, rest = name.partition(".")
            if top != "gcsmux_fs" or not rest:
                continue
            assert any(
                rest == arrow
                or f"{rest}.".startswith(f"{arrow}.")
                or f"{arrow}.".startswith(f"{rest}.")
                for arrow in allowed
            ), f"{name_of(module)} imports {name}"


def test_every_folder_of_the_emulator_is_known() -> None:
    folders = {path.parent.name for path in (PACKAGE / "emulator").glob("*/__init__.py")}
    assert folders == set(EMULATOR_FOLDERS)


@pytest.mark.parametrize("folder", EMULATOR_FOLDERS)
def test_a_folder_of_the_emulator_imports_only_what_its_arrows_allow(folder: str) -> None:
    forbidden = (set(EMULATOR_FOLDERS) | EMULATOR_TOP_MODULES) - EMULATOR_FOLDERS[folder] - {folder}
    for module in (PACKAGE / "emulator" / folder).glob("*.py"):
        for name in imports_of(module):
            parts = name.split(".")
            if parts[:2] == ["gcsmux_fs", "emulator"] and len(parts) > 2:
                assert parts[2] not in forbidden, f"{name_of(module)} imports {name}"


def test_modules_beside_the_emulators_folders_import_no_folder() -> None:
    """If these modules imported a folder, there would be a circle: folders may import them.

    The rule does not apply to `EMULATOR_TOP_MODULES`, because no folder imports these modules.
    """
    for module in (PACKAGE / "emulator").glob("*.py"):
        if module.stem in EMULATOR_TOP_MODULES:
            continue
        for name in imports_of(module):
            parts = name.split(".")
            if parts[:2] == ["gcsmux_fs", "emulator"] and len(parts) > 2:
                assert parts[2] not in set(EMULATOR_FOLDERS) | EMULATOR_TOP_MODULES, (
                    f"{name_of(module)} imports {name}"
                )


def test_no_circle_of_modules() -> None:
    names = {name_of(module): module for module in modules()}
    waiting = {
        name: {
            imported.removeprefix("gcsmux_fs.")
            for imported in imports_of(module)
            if imported.removeprefix("gcsmux_fs.") in names and imported != "gcsmux_fs"
        }
        for name, module in names.items()
    }
    while free := [name for name, imported in waiting.items() if not imported & set(waiting)]:
        for name in free:
            del waiting[name]
    assert not waiting


def test_the_impure_modules_are_known() -> None:
    """A module that is not in `IMPURE_MODULES` imports nothing of `IMPURE`, and never awaits."""
    impure = {
        name_of(module)
        for module in modules()
        if imports_of(module) & IMPURE
        or any(
            isinstance(node, (ast.AsyncFunctionDef, ast.Await))
            for node in ast.walk(ast.parse(module.read_text()))
        )
    }
    assert impure == IMPURE_MODULES


@pytest.mark.parametrize("package", USERS)
def test_a_foreign_package_stays_in_its_rooms(package: str) -> None:
    for module in modules():
        roots = {name.partition(".")[0] for name in imports_of(module)}
        if name_of(module).partition(".")[0] not in USERS[package]:
            assert package not in roots, module


def test_no_name_of_a_module_or_a_class_is_used_twice() -> None:
    """If two modules or classes had the same name, a reader would not know which one is meant."""
    found = [module.stem for module in modules() if not module.stem.startswith("__")]
    for module in modules():
        found += [
            node.name
            for node in ast.parse(module.read_text()).body
            if isinstance(node, ast.ClassDef)
        ]
    assert [name for name, times in Counter(found).items() if times > 1] == []


def test_every_module_names_its_public_surface() -> None:
    for module in modules():
        if module.name == "__main__.py" or (
            module.name == "__init__.py" and module.parent != PACKAGE
        ):
            continue
        assigned = {
            target.id
            for node in ast.parse(module.read_text()).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert "__all__" in assigned, module.relative_to(PACKAGE)
