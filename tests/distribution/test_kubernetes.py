"""Tests of examples/kubernetes.yaml: its fields, and its mount propagation in the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gcsmux_fs.commands.mount_arguments import mount_arguments
from gcsmux_fs.settings.settings import Settings
from tests.support.harness import EmulatorProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCUMENTS = list(yaml.safe_load_all((ROOT / "examples" / "kubernetes.yaml").read_text()))
MIB = 2**20
# What a mount process needs in addition to --memory.
PROCESS_BYTES = 150 * MIB


def pod_specs() -> Iterator[dict[str, Any]]:
    for document in DOCUMENTS:
        yield (
            document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
        )


def mounting_containers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each pod and its container that mounts."""
    for spec in pod_specs():
        (container,) = [
            each
            for each in [*spec.get("initContainers", []), *spec["containers"]]
            if each["name"] == "gcsmux"
        ]
        yield spec, container


def settings_of(container: dict[str, Any]) -> Settings:
    settings = mount_arguments.main(list(container["args"]), standalone_mode=False)
    assert isinstance(settings, Settings)
    return settings


def test_the_documents_are_a_pod_and_a_daemon_set() -> None:
    assert [document["kind"] for document in DOCUMENTS] == ["Pod", "DaemonSet"]
    pod, daemon_set = DOCUMENTS
    (sidecar,) = pod["spec"]["initContainers"]
    # With this policy, a container of initContainers is a sidecar.
    assert sidecar["restartPolicy"] == "Always"
    assert "startupProbe" in sidecar
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert daemon_set["spec"]["selector"]["matchLabels"] == labels


def test_every_volume_exists_and_the_mount_leaves_its_container() -> None:
    for spec, container in mounting_containers():
        volumes = {volume["name"] for volume in spec["volumes"]}
        for each in [*spec.get("initContainers", []), *spec["containers"]]:
            mount, *others = each["volumeMounts"]
            assert {mount["name"], *(other["name"] for other in others)} <= volumes
            expected = "Bidirectional" if each is container else "HostToContainer"
            assert mount["mountPropagation"] == expected
        # The API server refuses Bidirectional without this field.
        assert container["securityContext"] == {"privileged": True}
        settings = settings_of(container)
        paths = [str(path) for path in (settings.mountpoint, settings.cache_dir) if path]
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == paths


def test_the_arguments_are_valid_and_fit_into_the_limits() -> None:
    for _, container in mounting_containers():
        settings = settings_of(container)
        assert settings.allow_other
        limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi")) * MIB
        assert limit >= settings.memory_bytes + PROCESS_BYTES
        assert settings.metrics_listen is not None
        (port,) = container["ports"]
        assert str(settings.metrics_listen).endswith(str(port["containerPort"]))
        for name in ("readinessProbe", "livenessProbe"):
            probe = container[name]["httpGet"]
            assert probe["port"] == port["name"]
            assert probe["path"] == ("/readyz" if name == "readinessProbe" else "/healthz")


# The script acts as the kubelet: $1 is a folder, $2 the path of gcsmux-mount. The volume is shared.
# The program's namespace gets mounts from there (HostToContainer), the namespace of the
# sidecar also sends mounts there (Bidirectional).
PROPAGATION = """\
set -eu
cd "$1"
mkdir volume
mount --bind volume volume
mount --make-shared volume
unshare --mount --propagation slave sleep 60 & program=$!
sidecar() {
  unshare --mount --propagation unchanged "$2" --foreground --allow-other my-bucket "$1/volume" \
    2>>log & pid=$!
  for _ in $(seq 100); do
    inside cat "$1/volume/object" >content 2>error && return
    sleep 0.1
  done
  cat log; exit 1
}
inside() { timeout 10 nsenter --mount --target=$program -- "$@"; }
trap 'kill $program $pid 2>/dev/null; umount -l volume' EXIT
sidecar "$@"
kill -9 $pid
{ wait $pid; } 2>/dev/null || true
inside cat "$1/volume/object" 2>crash && exit 2
grep -q 'not connected' crash
sidecar "$@"
kill -TERM $pid; wait $pid
inside ls "$1/volume"
cat content
"""


@pytest.mark.mount
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change mount namespaces")
def test_a_program_sees_the_mount_of_its_sidecar_also_after_a_crash(tmp_path: Path) -> None:
    with EmulatorProcess(tmp_path / "buckets") as emulator:
        emulator.place("object", b"hello\n")
        folder = tmp_path / "node"
        folder.mkdir()
        command = Path(sys.executable).parent / "gcsmux-mount"
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", PROPAGATION, "bash", folder, command],
            env=os.environ | {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stdout
