"""A command under the limits of a unit of systemd, without systemd.

Run as `limits.py UNIT COMMAND...` it does to itself what the [Service] section says, as systemd
252 does it, and becomes the command. System calls are filtered by libseccomp, which systemd uses as
well, and groups of them (`@mount`) are taken from `systemd-analyze`, so that the list tested is the
list shipped.

What it does: capabilities, NoNewPrivileges, filters of system calls, address families, namespaces,
writable code, the file mode mask and limits on core files. Devices, and the namespace that
ProtectHostname= brings, are left to systemd.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

__all__ = ["Filter", "allowed_calls", "command_of", "read_service"]

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 24, 38, 65
_PR_MDWE_REFUSE_EXEC_GAIN = 1
# <linux/capability.h>, as far as units name them here.
_CAPABILITIES = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SETUID": 7,
    "CAP_SYS_ADMIN": 21,
}
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
_LAST_FAMILY = 45

# <seccomp.h>
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
# <linux/sched.h>: CLONE_NEWNS, -CGROUP, -UTS, -IPC, -USER, -PID, -NET.
_NEW_NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
_PROT_WRITE, _PROT_EXEC = 2, 4


def read_service(unit: Path) -> dict[str, list[str]]:
    """Return what the [Service] section of a unit assigns, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and line[0] not in "#;":
            name, _, text = line.partition("=")
            found[name].append(text)
    return found


def command_of(assignment: str, **environment: str) -> list[str]:
    """Return the words of a command line of a unit: `-` and quotes as systemd reads them."""
    import shlex

    words = shlex.split(assignment.removeprefix("-"))
    return [
        environment[word[2:-1]] if word.startswith("${") else word.replace("$$", "$")
        for word in words
    ]


def allowed_calls(assignments: list[str]) -> set[str]:
    """Return the system calls that SystemCallFilter= allows; groups and `~` add and take away."""
    allowed: set[str] = set()
    for assignment in assignments:
        names = {
            call
            for word in assignment.removeprefix("~").split()
            for call in (_members(word) if word.startswith("@") else [word])
        }
        allowed = allowed - names if assignment.startswith("~") else allowed | names
    # systemd adds what a process needs to begin and end at all.
    return allowed | _members("@default")


def _members(group: str) -> set[str]:
    command = ["systemd-analyze", "syscall-filter", "--no-pager", group]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = [line.strip() for line in output.splitlines()[1:] if not line.strip().startswith("#")]
    return {
        call
        for name in names
        if name
        for call in (_members(name) if name.startswith("@") else [name])
    }


class _Argument(ctypes.Structure):
    """A comparison of one argument of a system call (struct scmp_arg_cmp)."""

    _fields_ = (
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class Filter:
    """A filter of system calls; what no rule names is answered by `default` (0: is let through)."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint(_action(default))))

    def rule(self, call: str, error: int, *arguments: tuple[int, int, int, int]) -> None:
        """Answer a call, with such arguments, by an error; 0 lets it through."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return  # not of this architecture, or younger than the library
        array = (_Argument * len(arguments))(*(_Argument(*one) for one in arguments))
        result = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint(_action(error)), number, len(arguments), array
        )
        if result:
            raise OSError(-result, f"no rule for {call}")

    def load(self) -> None:
        """Put the filter in force for this process and all that it becomes or starts."""
        if result := self._library.seccomp_load(self._context):
            raise OSError(-result, "no filter")


def _action(error: int) -> int:
    return _ERRNO | error if error else _ALLOW


def _limit(service: dict[str, list[str]]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(*arguments: int) -> None:
        longs = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0)[:5]]
        if libc.prctl(*longs):
            raise OSError(ctypes.get_errno(), f"prctl{arguments}")

    os.umask(int(service["UMask"][-1], 8))
    resource.setrlimit(resource.RLIMIT_CORE, (int(service["LimitCORE"][-1]),) * 2)
    # Before the filter, which would forbid some of it.
    filters = [_calls(service), _families(service), _namespaces(), _writable_code()]
    kept = {_CAPABILITIES[name] for name in service["CapabilityBoundingSet"][-1].split()}
    for number in range(int(_LAST_CAPABILITY.read_text()) + 1):
        if number not in kept:
            prctl(_PR_CAPBSET_DROP, number)
    assert service["MemoryDenyWriteExecute"] == service["NoNewPrivileges"] == ["yes"]
    # systemd of today asks the kernel; that of Debian 12 makes a filter.
    prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # The last one forbids to load others.
    for one in reversed(filters):
        one.load()


def _calls(service: dict[str, list[str]]) -> Filter:
    made = Filter(errno.EPERM)
    for call in sorted(allowed_calls(service["SystemCallFilter"])):
        made.rule(call, 0)
    return made


def _families(service: dict[str, list[str]]) -> Filter:
    made = Filter(0)
    allowed = {_FAMILIES[name] for name in service["RestrictAddressFamilies"][-1].split()}
    for family in set(range(_LAST_FAMILY + 1)) - allowed:
        made.rule("socket", errno.EAFNOSUPPORT, (0, _EQUAL, family, 0))
    return made


def _namespaces() -> Filter:
    made = Filter(0)
    made.rule("clone3", errno.ENOSYS)  # its flags are in memory, where no filter looks
    made.rule("setns", errno.EPERM)
    for call in ("clone", "unshare"):
        for flag in _NEW_NAMESPACES:
            made.rule(call, errno.EPERM, (0, _MASKED_EQUAL, flag, flag))
    return made


def _writable_code() -> Filter:
    made = Filter(0)
    both = _PROT_WRITE | _PROT_EXEC
    made.rule("mmap", errno.EPERM, (2, _MASKED_EQUAL, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        made.rule(call, errno.EPERM, (2, _MASKED_EQUAL, _PROT_EXEC, _PROT_EXEC))
    return made


def _main(unit: str, *command: str) -> None:
    _limit(read_service(Path(unit)))
    os.execvp(command[0], command)


if __name__ == "__main__":
    _main(*sys.argv[1:])
