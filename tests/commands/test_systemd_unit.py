"""Tests of the text of the systemd unit: a valid command, and a mount that all processes see."""

from __future__ import annotations

import shlex
from pathlib import Path

from gcsmux_fs.commands.mount_arguments import mount_arguments
from gcsmux_fs.settings.settings import Settings

SYSTEMD = Path(__file__).parents[2] / "systemd"

# The unit must not contain these settings. Each of these settings would give the service its own
# mount namespace, and then no other process would see the mount (systemd.exec(5)).
# fmt: off
SEPARATING = {
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


# The unit must contain these settings for start, restart and hardening. Without one of them the
# unit still works, but is less reliable or less secure.
# fmt: off
REQUIRED = {
    "CapabilityBoundingSet": "CAP_SYS_ADMIN", "DeviceAllow": "/dev/fuse rw",
    "Before": "remote-fs.target", "DevicePolicy": "closed", "KeyringMode": "private",
    "KillMode": "mixed", "LimitCORE": "0", "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes", "NoNewPrivileges": "yes", "NotifyAccess": "main",
    "ProtectClock": "yes", "ProtectHostname": "yes", "Restart": "on-failure",
    "ExecReload": "/bin/kill -HUP $MAINPID",
    "RestartPreventExitStatus": "2 78", "RestartSec": "1s",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6", "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes", "RestrictSUIDSGID": "yes", "StartLimitIntervalSec": "0",
    "SystemCallArchitectures": "native", "SystemCallErrorNumber": "EPERM",
    "TimeoutStartSec": "90s", "TimeoutStopSec": "20s", "Type": "notify", "UMask": "0077",
    "WatchdogSec": "60s",
}
# The unit must not contain these settings. Each of these settings would prevent the mount or end
# it.
FATAL = {"IPAddressDeny", "MemoryMax", "PrivateUsers", "SocketBindDeny", "TasksMax", "User"}
# fmt: on


def assignments(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: text for name, equals, text in (line.partition("=") for line in lines) if equals}


def test_no_setting_of_the_unit_hides_the_mount() -> None:
    assert assignments(SYSTEMD / "gcsmux@.service").keys() & SEPARATING == set()


def test_the_unit_has_all_required_settings_and_no_fatal_one() -> None:
    unit = assignments(SYSTEMD / "gcsmux@.service")
    assert {name: text for name, text in unit.items() if name in REQUIRED} == REQUIRED
    assert unit.keys() & FATAL == set()


def test_the_unit_runs_a_valid_command_with_the_example_environment() -> None:
    variables = assignments(SYSTEMD / "example.env")
    _, *words = assignments(SYSTEMD / "gcsmux@.service")["ExecStart"].split()
    arguments: list[str] = []
    for word in words:
        # Replace variables as systemd does: the value of ${NAME} is one word, and the value of
        # $NAME is split into words.
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
