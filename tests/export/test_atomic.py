"""A file appears whole or not at all, whatever fails and whoever is killed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from wandb_ops.errors import UnsafePath, UsageError
from wandb_ops.export.places import atomic
from wandb_ops.export.places.atomic import Discard, replace_file

OLD = b"the good old file\n"
NEW = b"the new file\n" * 5000


def write(path: Path, content: bytes = NEW) -> None:
    with replace_file(path) as out:
        for start in range(0, len(content), 9000):
            out.write(content[start : start + 9000])


def test_a_new_file_holds_what_was_written_and_nothing_stays_beside_it(tmp_path, leftovers):
    target = tmp_path / "deep" / "er" / "run.csv"
    write(target)
    assert target.read_bytes() == NEW
    assert leftovers(target.parent) == []


def test_nobody_sees_the_target_before_it_is_whole(tmp_path):
    target = tmp_path / "run.csv"
    target.write_bytes(OLD)
    with replace_file(target) as out:
        out.write(NEW)
        out.flush()
        assert target.read_bytes() == OLD
    assert target.read_bytes() == NEW


def test_an_error_in_the_block_leaves_the_old_file_and_no_litter(tmp_path, leftovers):
    target = tmp_path / "run.csv"
    target.write_bytes(OLD)

    def interrupted() -> None:
        with replace_file(target) as out:
            out.write(NEW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_bytes() == OLD
    assert leftovers(tmp_path) == []


def test_discard_leaves_the_old_file_and_raises_nothing(tmp_path, leftovers):
    target = tmp_path / "run.csv"
    target.write_bytes(OLD)
    before = target.stat()
    with replace_file(target) as out:
        out.write(NEW)
        raise Discard
    assert target.read_bytes() == OLD
    assert target.stat().st_ino == before.st_ino
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "fchmod", "fsync", "replace"])
def test_a_failing_system_call_leaves_the_old_file_and_no_litter(
    tmp_path, monkeypatch, leftovers, call, code
):
    target = tmp_path / "run.csv"
    target.write_bytes(OLD)
    real = getattr(os, call)

    def refuse(*args, **kwargs):
        if call == "open" and atomic._SUFFIX not in str(args[0]):
            return real(*args, **kwargs)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match=r".") as failure:
        write(target)
    monkeypatch.undo()
    assert failure.value.errno == code
    assert target.read_bytes() == OLD
    assert leftovers(tmp_path) == []


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path, leftovers):
    """A real ENOSPC-like refusal by the kernel: the process may write 20 kB into a file, and no more."""
    target = tmp_path / "run.csv"
    target.write_bytes(OLD)
    script = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from wandb_ops.export.places.atomic import replace_file
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            with replace_file(Path(sys.argv[1])) as out:
                out.write(b"x" * 65_000)
        except OSError as error:
            print(error.errno)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == errno.EFBIG
    assert target.read_bytes() == OLD
    assert leftovers(tmp_path) == []


def test_data_are_durable_before_the_rename_and_the_rename_before_the_return(tmp_path, monkeypatch):
    """Without either fsync a power cut could leave an empty file under the final name."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor):
        calls.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        return fsync(descriptor)

    def seen_replace(*names):
        calls.append("replace")
        return replace(*names)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    write(tmp_path / "run.csv")
    assert calls == ["fsync file", "replace", "fsync folder"]


KILLER = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from wandb_ops.export.places import atomic

    target, at = Path(sys.argv[1]), int(sys.argv[2])
    seen = 0

    def counted(real):
        def call(*args, **kwargs):
            global seen
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call

    class Out:
        def __init__(self, real):
            self._real = real
            self.write = counted(real.write)
        def __enter__(self):
            self._real.__enter__()
            return self
        def __exit__(self, *why):
            return self._real.__exit__(*why)
        def __getattr__(self, name):
            return getattr(self._real, name)

    for name in ("fsync", "replace", "fchmod", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    fdopen = os.fdopen
    os.fdopen = lambda descriptor, mode: Out(fdopen(descriptor, mode, 0))

    with atomic.replace_file(target) as out:
        for part in range(4):
            out.write(b"new line\\n" * 1000)
    print(seen)
    """
)


def test_killed_at_every_point_the_next_run_ends_with_the_same_file(tmp_path, leftovers):
    def run(target: Path, at: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", KILLER, str(target), str(at)], capture_output=True, text=True, check=False
        )

    undisturbed = run(tmp_path / "reference" / "run.csv", 0)
    points = int(undisturbed.stdout)
    expected = (tmp_path / "reference" / "run.csv").read_bytes()
    assert points >= 8
    for at in range(1, points + 1):
        target = tmp_path / f"crash{at}" / "run.csv"
        if at % 2:  # with and without an older file
            target.parent.mkdir()
            target.write_bytes(OLD)
        killed = run(target, at)
        if killed.returncode != 0:
            assert killed.returncode == -9
            assert not target.exists() or target.read_bytes() in (OLD, expected)
        assert run(target, 0).returncode == 0
        assert target.read_bytes() == expected
        assert leftovers(target.parent) == []


def test_several_writers_at_once_leave_one_whole_file(tmp_path, leftovers):
    target = tmp_path / "run.csv"
    contents = [bytes([65 + i]) * 300_000 for i in range(6)]
    start = threading.Barrier(len(contents))

    def work(content: bytes) -> None:
        start.wait()
        for _ in range(5):
            write(target, content)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if target.exists():
            assert target.read_bytes() in contents
    for thread in threads:
        thread.join()
    assert target.read_bytes() in contents
    assert leftovers(tmp_path) == []


def test_the_last_to_finish_wins(tmp_path):
    target = tmp_path / "run.csv"
    with replace_file(target) as slow:
        slow.write(b"slow")
        write(target, b"fast")
        assert target.read_bytes() == b"fast"
    assert target.read_bytes() == b"slow"


def _hold_in_child(target: str, ready, go) -> None:
    with replace_file(Path(target)) as out:
        out.write(b"from the other process")
        ready.set()
        go.wait(20)


def test_the_temporary_file_of_a_living_process_is_left_alone(tmp_path):
    target = tmp_path / "run.csv"
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    other = context.Process(target=_hold_in_child, args=(str(target), ready, go))
    other.start()
    try:
        assert ready.wait(20)
        write(target)
        assert target.read_bytes() == NEW
    finally:
        go.set()
        other.join(20)
    assert other.exitcode == 0
    assert target.read_bytes() == b"from the other process"


def test_a_symbolic_link_is_refused_and_what_it_points_to_untouched(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(OLD)
    link = tmp_path / "run.csv"
    link.symlink_to(secret)
    with pytest.raises(UnsafePath, match="symbolic link"):
        write(link)
    dangling = tmp_path / "dangling.csv"
    dangling.symlink_to(tmp_path / "nothing")
    with pytest.raises(UnsafePath, match="symbolic link"):
        write(dangling)
    assert secret.read_bytes() == OLD
    assert not (tmp_path / "nothing").exists()


def test_a_folder_or_a_device_is_no_target(tmp_path):
    with pytest.raises(UsageError, match="folder"):
        write(tmp_path)
    with pytest.raises(UsageError, match="no plain file"):
        write(Path("/dev/null"))


def test_permissions_follow_the_umask_and_an_existing_file_keeps_its_own(tmp_path):
    previous = os.umask(0o027)
    try:
        fresh = tmp_path / "fresh.csv"
        with replace_file(fresh) as out:
            out.write(NEW)
            part = next(p for p in tmp_path.iterdir() if p.name.endswith(atomic._SUFFIX))
            assert stat.S_IMODE(part.stat().st_mode) == 0o600
        assert stat.S_IMODE(fresh.stat().st_mode) == 0o640
        fresh.chmod(0o604)
        write(fresh)
        assert stat.S_IMODE(fresh.stat().st_mode) == 0o604
    finally:
        os.umask(previous)


def test_the_longest_name_that_the_file_system_takes_works(tmp_path, leftovers):
    target = tmp_path / ("ä" * 125 + ".csv")
    write(target)
    assert target.read_bytes() == NEW
    assert leftovers(tmp_path) == []
