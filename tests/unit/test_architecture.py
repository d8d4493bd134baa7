"""The arrows between the rooms, as docs/ARCHITECTURE.md draws them, read off the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gcsmux_fs

PACKAGE = Path(gcsmux_fs.__file__).parent
PLAIN = {
    "",
    "advice",
    "allocator",
    "columns",
    "config",
    "errors",
    "model",
    "retrybudget",
    "standardstreams",
    "units",
}
PORTS = {"storage.ports"}

# What each room may import of this package, besides itself and the plain modules.
ROOMS: dict[str, set[str]] = {
    "storage": set(),
    "mux": PORTS,
    "reading": set(),
    "namespace": PORTS,
    "fuse": {"namespace", "reading", "logs"},
    "emulator": {"storage.pb", "logs"},
}
GRPC = {"grpc", "google"}


def imports_of(module: Path) -> set[str]:
    """Return the absolute names of everything a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module}: relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def modules_of(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_arrows_allow(room: str) -> None:
    allowed = ROOMS[room] | {room}
    for module in modules_of(room):
        for name in imports_of(module):
            top, _, rest = name.partition(".")
            if top != "gcsmux_fs" or rest.partition(".")[0] in PLAIN | {"__version__"}:
                continue
            assert any(rest == arrow or rest.startswith(arrow + ".") for arrow in allowed), (
                f"{module.relative_to(PACKAGE)} imports {name}"
            )


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"storage", "emulator"}))
def test_only_storage_and_the_emulator_know_grpc(room: str) -> None:
    for module in modules_of(room):
        roots = {name.partition(".")[0] for name in imports_of(module)}
        assert not roots & GRPC, module


@pytest.mark.parametrize(
    "module",
    [
        "mux/core.py",
        "mux/assembly.py",
        "mux/retry.py",
        "retrybudget.py",
        "storage/availability.py",
        "reading/readahead.py",
        "reading/runs.py",
        "reading/pace.py",
        "reading/cache.py",
        "reading/budget.py",
        "reading/extents.py",
        "namespace/names.py",
        "namespace/listing.py",
        "namespace/inodes.py",
    ],
)
def test_cores_know_no_loop_no_clock_and_no_log(module: str) -> None:
    path = PACKAGE / module
    assert not imports_of(path) & {"trio", "asyncio", "time", "logging", "threading"}
    tree = ast.parse(path.read_text())
    assert not [
        node for node in ast.walk(tree) if isinstance(node, (ast.AsyncFunctionDef, ast.Await))
    ]


def test_every_module_names_its_public_surface() -> None:
    for module in sorted(PACKAGE.rglob("*.py")):
        if module.name == "__main__.py" or "pb" in module.parts:
            continue
        if module.name == "__init__.py" and module.parent != PACKAGE:
            continue
        assigned = {
            target.id
            for node in ast.parse(module.read_text()).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert "__all__" in assigned, module.relative_to(PACKAGE)
