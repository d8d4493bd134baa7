"""Run a command with the limits of a systemd unit, without systemd.

`limits.py UNIT COMMAND...` applies the [Service] section of UNIT to its own process, as systemd 252
does, and then executes COMMAND. libseccomp filters the system calls, as in systemd.
`systemd-analyze` expands groups of system calls such as `@mount`, so that each group has the same
members as in systemd.

These limits are applied: capabilities, NoNewPrivileges, filters of system calls, address families,
namespaces, writable code, umask, and the size of core files. These limits are not applied: access
to devices, and the UTS namespace of ProtectHostname=.
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
# Numbers of the capabilities that our units name, from <linux/capability.h>.
_CAPABILITIES = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SETUID": 7,
    "CAP_SYS_ADMIN": 21,
}
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
_LAST_FAMILY = 45

# Constants from <seccomp.h>.
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
# Flags of clone(2) from <linux/sched.h>: CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
# CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET.
_NEW_NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
_PROT_WRITE, _PROT_EXEC = 2, 4


def read_service(unit: Path) -> dict[str, list[str]]:
    """Return the values of each setting in a unit's [Service] section, in the order of the file."""
    assignments: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and line[0] not in "#;":
            name, _, text = line.partition("=")
            assignments[name].append(text)
    return assignments


def command_of(assignment: str, **environment: str) -> list[str]:
    """Split the command line of a unit into words, as systemd does.

    Remove the prefix `-` and quotes, and replace variables by their values in `environment`. A
    variable without braces is split into words. The name of the instance is `data`.
    """
    import shlex

    words: list[str] = []
    for word in shlex.split(assignment.removeprefix("-").replace("%i", "data")):
        if word.startswith("${"):
            words.append(environment[word[2:-1]])
        elif word.startswith("$"):
            words += shlex.split(environment.get(word[1:], ""))
        else:
            words.append(word.replace("$$", "$"))
    return words


def allowed_calls(assignments: list[str]) -> set[str]:
    """Return the system calls that the SystemCallFilter= settings of a unit allow.

    A setting that begins with `~` forbids the calls that it names.
    """
    allowed: set[str] = set()
    for assignment in assignments:
        names = {
            call
            for word in assignment.removeprefix("~").split()
            for call in (_members(word) if word.startswith("@") else [word])
        }
        allowed = allowed - names if assignment.startswith("~") else allowed | names
    # systemd always allows the group @default, because without these calls no process can start or
    # exit.
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
    """A condition for one argument of a system call: the struct scmp_arg_cmp of libseccomp."""

    _fields_ = (
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class Filter:
    """A filter of system calls.

    A call that matches no rule fails with errno `default`. If `default` is 0, the call is allowed.
    """

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint(_action(default))))

    def rule(self, call: str, error: int, *arguments: tuple[int, int, int, int]) -> None:
        """Add a rule: the system call `call` fails with errno `error` if its arguments match.

        If `error` is 0, the rule allows the call.
        """
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            # Skip a call that exists only on other architectures or is newer than the library.
            return
        array = (_Argument * len(arguments))(*(_Argument(*one) for one in arguments))
        result = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint(_action(error)), number, len(arguments), array
        )
        if result:
            raise OSError(-result, f"cannot add a filter rule for {call}")

    def load(self) -> None:
        """Apply the filter to this process and its future children."""
        if result := self._library.seccomp_load(self._context):
            raise OSError(-result, "cannot load the system call filter")


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
    # Build all filters before the first one is loaded. A loaded filter could forbid calls that are
    # needed to build the next filter.
    filters = [_calls(service), _families(service), _namespaces(), _writable_code()]
    kept = {_CAPABILITIES[name] for name in service["CapabilityBoundingSet"][-1].split()}
    for number in range(int(_LAST_CAPABILITY.read_text()) + 1):
        if number not in kept:
            prctl(_PR_CAPBSET_DROP, number)
    assert service["MemoryDenyWriteExecute"] == service["NoNewPrivileges"] == ["yes"]
    # Current versions of systemd use PR_SET_MDWE to forbid writable code. Version 252 in Debian 12
    # uses the filter of `_writable_code` instead.
    prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # The first filter of the list is loaded last, because this filter forbids seccomp(2), which
    # loads filters.
    for one in reversed(filters):
        one.load()


def _calls(service: dict[str, list[str]]) -> Filter:
    call_filter = Filter(errno.EPERM)
    for call in sorted(allowed_calls(service["SystemCallFilter"])):
        call_filter.rule(call, 0)
    return call_filter


def _families(service: dict[str, list[str]]) -> Filter:
    call_filter = Filter(0)
    allowed = {_FAMILIES[name] for name in service["RestrictAddressFamilies"][-1].split()}
    for family in set(range(_LAST_FAMILY + 1)) - allowed:
        call_filter.rule("socket", errno.EAFNOSUPPORT, (0, _EQUAL, family, 0))
    return call_filter


def _namespaces() -> Filter:
    call_filter = Filter(0)
    # Forbid every clone3: its flags are in memory, where no system call filter can read them.
    call_filter.rule("clone3", errno.ENOSYS)
    call_filter.rule("setns", errno.EPERM)
    for call in ("clone", "unshare"):
        for flag in _NEW_NAMESPACES:
            call_filter.rule(call, errno.EPERM, (0, _MASKED_EQUAL, flag, flag))
    return call_filter


def _writable_code() -> Filter:
    call_filter = Filter(0)
    both = _PROT_WRITE | _PROT_EXEC
    call_filter.rule("mmap", errno.EPERM, (2, _MASKED_EQUAL, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        call_filter.rule(call, errno.EPERM, (2, _MASKED_EQUAL, _PROT_EXEC, _PROT_EXEC))
    return call_filter


def _main(unit: str, *command: str) -> None:
    _limit(read_service(Path(unit)))
    os.execvp(command[0], command)


if __name__ == "__main__":
    _main(*sys.argv[1:])
