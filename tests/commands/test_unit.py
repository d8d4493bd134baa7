"""The unit of systemd: what it runs is a command we know, and its mount is seen by all."""

from __future__ import annotations

import shlex
from pathlib import Path

from gcsmux_fs.commands.arguments import mount_arguments
from gcsmux_fs.settings.settings import Settings

SYSTEMD = Path(__file__).parents[2] / "systemd"

# Each gives the service a mount namespace of its own (systemd.exec(5)).
# fmt: off
HIDING = {
    "BindLogSockets", "BindPaths", "BindReadOnlyPaths", "DynamicUser", "ExecPaths",
    "ExtensionDirectories", "ExtensionImages", "IPCNamespacePath", "InaccessiblePaths",
    "LogNamespace", "MountAPIVFS", "MountFlags", "MountImages", "NetworkNamespacePath",
    "NoExecPaths", "PrivateBPF", "PrivateDevices", "PrivateIPC", "PrivateMounts",
    "PrivateNetwork", "PrivatePIDs", "PrivateTmp", "ProcSubset", "ProtectControlGroups",
    "ProtectHome", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
    "ProtectProc", "ProtectSystem", "ReadOnlyPaths", "ReadWritePaths", "RootDirectory",
    "RootImage", "TemporaryFileSystem",
}
# fmt: on


# What a mount needs to be made, to come back, and to be no more than it has to be. A line that is
# left out weakens it without anybody being told.
# fmt: off
NEEDED = {
    "CapabilityBoundingSet": "CAP_SYS_ADMIN", "DeviceAllow": "/dev/fuse rw",
    "DevicePolicy": "closed", "EnvironmentFile": "/etc/gcsmux/%i.env", "KeyringMode": "private",
    "KillMode": "mixed", "LimitCORE": "0", "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes", "NoNewPrivileges": "yes", "NotifyAccess": "main",
    "ProtectClock": "yes", "ProtectHostname": "yes", "Restart": "on-failure",
    "RestartPreventExitStatus": "2", "RestartSec": "5s",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6", "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes", "RestrictSUIDSGID": "yes", "StartLimitIntervalSec": "0",
    "SystemCallArchitectures": "native", "SystemCallErrorNumber": "EPERM",
    "TimeoutStartSec": "90s", "TimeoutStopSec": "20s", "Type": "notify", "UMask": "0077",
}
# Each ends a mount, or keeps it from being made.
FATAL = {"IPAddressDeny", "MemoryMax", "PrivateUsers", "SocketBindDeny", "TasksMax", "User"}
# fmt: on


def assignments(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: text for name, equals, text in (line.partition("=") for line in lines) if equals}


def test_nothing_in_the_unit_hides_the_mount() -> None:
    assert assignments(SYSTEMD / "gcsmux@.service").keys() & HIDING == set()


def test_nothing_is_missing_from_the_unit_that_a_mount_needs() -> None:
    found = assignments(SYSTEMD / "gcsmux@.service")
    assert {name: text for name, text in found.items() if name in NEEDED} == NEEDED
    assert found.keys() & FATAL == set()


def test_the_unit_runs_a_command_that_is_understood_with_the_example() -> None:
    variables = assignments(SYSTEMD / "example.env")
    _, *words = assignments(SYSTEMD / "gcsmux@.service")["ExecStart"].split()
    arguments: list[str] = []
    for word in words:
        # As systemd does it: $NAME is split into words, ${NAME} is one.
        if word.startswith("${"):
            arguments.append(variables[word[2:-1]])
        elif word.startswith("$"):
            arguments += shlex.split(variables[word[1:]])
        else:
            arguments.append(word)
    settings = mount_arguments.main(arguments, standalone_mode=False)
    assert isinstance(settings, Settings)
    assert settings.foreground
    assert settings.bucket == "my-bucket"
    assert settings.mountpoint == Path("/mnt/my-bucket")
    assert settings.allow_other
