"""Stops a process at each change that it makes to a folder, in whatever language, and does it harm there.

Delta Lake's files are written by threads of Rust, which no hook in Python sees. The kernel sees them all: the
child carries a seccomp filter that hands every system call that changes files to its tracer (ptrace), before
it is carried out. The tracer counts those that concern the folder. At the one that it was told it kills the
child (when half of a write has reached the file), or answers from there on that the disk is full.

Linux on x86_64 and aarch64. `refused()` says in words why it does not work elsewhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Names of calls -> their numbers, and where their arguments are: a descriptor, or a path, and the folder
# that it is relative to.
_X86_64 = {
    "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "pwritev2": 328, "sendfile": 40,
    "copy_file_range": 326, "truncate": 76, "ftruncate": 77, "fallocate": 285, "fsync": 74, "fdatasync": 75,
    "sync_file_range": 277, "rename": 82, "renameat": 264, "renameat2": 316, "link": 86, "linkat": 265,
    "symlink": 88, "symlinkat": 266, "unlink": 87, "unlinkat": 263, "mkdir": 83, "mkdirat": 258, "rmdir": 84,
    "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "creat": 85, "open": 2, "openat": 257,
}  # fmt: skip
_AARCH64 = {
    "write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70, "pwritev2": 287, "sendfile": 71,
    "copy_file_range": 285, "truncate": 45, "ftruncate": 46, "fallocate": 47, "fsync": 82, "fdatasync": 83,
    "sync_file_range": 84, "renameat": 38, "renameat2": 276, "linkat": 37, "symlinkat": 36, "unlinkat": 35,
    "mkdirat": 34, "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "openat": 56,
}  # fmt: skip
_MACHINES = {"x86_64": (_X86_64, 0xC000003E), "aarch64": (_AARCH64, 0xC00000B7)}
_NUMBERS, _ARCH = _MACHINES.get(platform.machine(), ({}, 0))
_NAMES = {number: name for name, number in _NUMBERS.items()}

_BY_DESCRIPTOR = {
    "write": 0, "pwrite64": 0, "writev": 0, "pwritev": 0, "pwritev2": 0, "sendfile": 0, "copy_file_range": 2,
    "ftruncate": 0, "fallocate": 0, "fsync": 0, "fdatasync": 0, "sync_file_range": 0, "fchmod": 0,
}  # fmt: skip
# What comes to be, or goes: for two names the second.
_BY_PATH = {
    "truncate": (None, 0), "rename": (None, 1), "renameat": (2, 3), "renameat2": (2, 3), "link": (None, 1),
    "linkat": (2, 3), "symlink": (None, 1), "symlinkat": (1, 2), "unlink": (None, 0), "unlinkat": (0, 1),
    "mkdir": (None, 0), "mkdirat": (0, 1), "rmdir": (None, 0), "chmod": (None, 0), "fchmodat": (0, 1),
    "fchmodat2": (0, 1), "creat": (None, 0), "open": (None, 0), "openat": (0, 1),
}  # fmt: skip
_WRITES = frozenset({"write", "pwrite64"})  # with the bytes in one piece: these are torn
_GROWING = frozenset(
    {"write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range", "fallocate"}
    | {"link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "creat", "open", "openat"}
)  # what a full disk refuses

_SEIZE, _CONT, _GETREGSET, _SETREGSET, _SYSCALL_INFO = 0x4206, 7, 0x4204, 0x4205, 0x420E
_EVENT_SECCOMP = 7
# Threads and children come along; the child dies with its tracer.
_OPTIONS = 0x2 | 0x4 | 0x8 | 0x80 | 0x100000
_WALL = 0x40000000
_NT_PRSTATUS, _NT_ARM_SYSTEM_CALL = 1, 0x404
_AT_FDCWD = 0xFFFFFF9C
_CHANGING = os.O_CREAT | os.O_TRUNC

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


@dataclass
class Traced:
    """What became of a traced child.

    Attributes:
        code: Its exit code; a signal's number, negative, when one ended it.
        points: Each change that it was about to make: the call and the path below the folder.
    """

    code: int
    points: list[tuple[str, str]] = field(default_factory=list)


def refused() -> str:
    """Why nothing can be traced here; empty when it can."""
    if sys.platform != "linux" or not _NUMBERS:
        return (
            f"processes are traced on Linux, x86_64 and aarch64, not on {sys.platform}, {platform.machine()}"
        )
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe"
        try:
            seen = traced(lambda: probe.write_bytes(b"x") - 1, Path(folder))
        except OSError as error:
            return f"the system does not let processes be traced: {error.strerror}"
    if ("write", "probe") not in seen.points:
        return "the system does not tell what a traced process does"
    return ""


def traced(
    work: Callable[[], int | None], root: Path, at: int = 0, how: str = "kill", only: Sequence[str] = ()
) -> Traced:
    """Run `work` in a child, which exits with what it returns, and harm it at its `at`th change below `root`.

    No thread of the calling process may be at work: it forks.

    Args:
        at: Counted from 1, among the changes that `how` concerns; 0 harms nothing.
        how: "kill": before that change, or in the middle of it when it is a write. "full": it fails, and so
            does from there on all that would take more room.
        only: Folders below `root` to look at; all, when none is named.

    Raises:
        OSError: The system does not let the child be traced.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        _child(work, reader)
    os.close(reader)
    try:
        _ptrace(_SEIZE, pid, 0, _OPTIONS)
        os.write(writer, b"x")
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(writer)
    return _Watch(pid, str(root), at, how, tuple(f"{name}/" for name in only)).follow()


class _Watch:
    def __init__(self, pid: int, root: str, at: int, how: str, only: tuple[str, ...]) -> None:
        self._pid, self._root, self._at, self._how, self._only = pid, root, at, how, only
        self._concerned = {"kill": frozenset(_NUMBERS), "full": _GROWING}[how]
        self._seen = 0
        self._found = Traced(0)

    def follow(self) -> Traced:
        while True:
            thread, status = os.waitpid(-1, _WALL)
            if not os.WIFSTOPPED(status):
                if thread == self._pid:
                    self._found.code = os.waitstatus_to_exitcode(status)
                    return self._found
                continue
            event = status >> 16
            deliver = 0 if event else os.WSTOPSIG(status)
            try:
                if event == _EVENT_SECCOMP:
                    self._stopped(thread)
                _ptrace(_CONT, thread, 0, deliver)
            except ProcessLookupError:
                continue  # killed meanwhile; its end comes next

    def _stopped(self, thread: int) -> None:
        number, arguments = _call(thread)
        name = _NAMES[number]
        path = _path(thread, name, arguments)
        if path != self._root and not path.startswith(self._root + "/"):
            return
        below = path[len(self._root) + 1 :]
        if self._only and not f"{below}/".startswith(self._only):
            return
        self._found.points.append((name, below))
        if name not in self._concerned:
            return
        self._seen += 1
        if not self._at or self._seen < self._at:
            return
        if self._how == "full":
            _refuse(thread, errno.ENOSPC)
            return
        if name in _WRITES:
            _tear(thread, name, arguments)
        os.kill(self._pid, signal.SIGKILL)


def _child(work: Callable[[], int | None], reader: int) -> None:
    code = 1
    try:
        os.read(reader, 1)  # the tracer is there
        os.close(reader)
        _filter()
        code = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _filter() -> None:
    """From here on, calls that change files stop for the tracer."""

    def line(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("<HBBI", code, yes, no, value)

    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    allow, trace = line(give, 0, 0, 0x7FFF0000), line(give, 0, 0, 0x7FF00000)
    lines = [line(load, 0, 0, 4), line(equal, 1, 0, _ARCH), allow, line(load, 0, 0, 0)]
    for name, number in _NUMBERS.items():
        if name in ("open", "openat"):
            flags = 16 + 8 * (1 if name == "open" else 2)
            lines += [line(equal, 0, 4, number), line(load, 0, 0, flags), line(any_bit, 0, 1, _CHANGING)]
            lines += [trace, allow]
        else:
            lines += [line(equal, 0, 1, number), trace]
    lines.append(allow)
    code = ctypes.create_string_buffer(b"".join(lines))
    program = struct.pack("<HxxxxxxQ", len(lines), ctypes.addressof(code))
    if _libc.prctl(38, 1, 0, 0, 0) or _libc.prctl(22, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _ptrace(request: int, thread: int, address: int, data: int) -> int:
    ctypes.set_errno(0)
    result = int(_libc.ptrace(request, thread, address, data))
    if result == -1 and (number := ctypes.get_errno()):
        raise OSError(number, os.strerror(number))
    return result


def _call(thread: int) -> tuple[int, tuple[int, ...]]:
    """Number and arguments of the call that a thread stands before."""
    info = ctypes.create_string_buffer(88)
    _ptrace(_SYSCALL_INFO, thread, len(info), ctypes.addressof(info))
    number, *arguments = struct.unpack_from("<7Q", info, 24)
    return number, tuple(arguments)


def _path(thread: int, name: str, arguments: tuple[int, ...]) -> str:
    try:
        if name in _BY_DESCRIPTOR:
            return os.readlink(f"/proc/{thread}/fd/{arguments[_BY_DESCRIPTOR[name]] & 0xFFFFFFFF}")
        beside, place = _BY_PATH[name]
        text = os.fsdecode(_memory(thread, arguments[place], 4096, text=True))
        if text.startswith("/"):
            return text
        number = _AT_FDCWD if beside is None else arguments[beside] & 0xFFFFFFFF
        link = "cwd" if number == _AT_FDCWD else f"fd/{number}"
        return os.path.normpath(f"{os.readlink(f'/proc/{thread}/{link}')}/{text}")
    except FileNotFoundError:
        return ""  # a descriptor that is none: the call will fail


def _memory(thread: int, address: int, length: int, *, text: bool = False) -> bytes:
    """Bytes of the thread's memory; with `text` up to the first zero byte."""
    with open(f"/proc/{thread}/mem", "rb", 0) as memory:
        if not text:
            return os.pread(memory.fileno(), length, address)
        found = b""
        while b"\0" not in found and len(found) < length:  # not beyond a page, which may be the last
            found += os.pread(memory.fileno(), 4096 - (address + len(found)) % 4096, address + len(found))
    return found.partition(b"\0")[0]


def _tear(thread: int, name: str, arguments: tuple[int, ...]) -> None:
    """Do half of a write in the child's stead."""
    descriptor = arguments[0] & 0xFFFFFFFF
    half = _memory(thread, arguments[1], arguments[2] // 2)
    place = arguments[3]
    if name == "write":
        words = Path(f"/proc/{thread}/fdinfo/{descriptor}").read_text().split()
        place = int(words[words.index("pos:") + 1])
    file = os.open(f"/proc/{thread}/fd/{descriptor}", os.O_WRONLY)
    os.pwrite(file, half, place)
    os.close(file)


def _refuse(thread: int, number: int) -> None:
    """Let the call that a thread stands before not happen, and fail."""
    registers = ctypes.create_string_buffer(1024)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(registers), len(registers))
    _ptrace(_GETREGSET, thread, _NT_PRSTATUS, ctypes.addressof(vector))
    answer, none = struct.pack("<q", -number), struct.pack("<q", -1)
    if platform.machine() == "x86_64":
        registers[80:88], registers[120:128] = answer, none  # rax, orig_rax
    else:
        registers[0:8] = answer  # x0
        call = ctypes.c_int(-1)
        other = (ctypes.c_size_t * 2)(ctypes.addressof(call), 4)
        _ptrace(_SETREGSET, thread, _NT_ARM_SYSTEM_CALL, ctypes.addressof(other))
    _ptrace(_SETREGSET, thread, _NT_PRSTATUS, ctypes.addressof(vector))
