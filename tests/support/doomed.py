"""A program whose children export, and are killed or starved of disk while they do.

One order a line on stdin, as JSON; the outcome of each a line on stdout. Everything is imported here, once,
and no thread is at work: what a child needs it starts itself. `python doomed.py TO_IMPORT...`
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

from tracer import refused, traced

from wandb_ops.errors import Error
from wandb_ops.export import export_project
from wandb_ops.public.api import Api
from wandb_ops.snapshot import take_snapshot

PARTLY, FAILED = 3, 4


def work(call: dict[str, Any]) -> int:
    """Export, or take a snapshot; the exit code says what came of it."""
    call = dict(call)
    try:
        if "at" in call:
            take_snapshot(Api(), **{**call, "at": datetime.fromisoformat(call["at"])})
            return 0
        done = export_project(Api(), **call)
    except Error as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    for one in done.not_taken:
        print(one, file=sys.stderr)
    return 0 if done.ok else PARTLY


def alone(call: dict[str, Any], pid_file: str) -> int:
    """The same without a tracer; who wants to kill it finds its number in a file."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            Path(pid_file).write_text(str(os.getpid()))
            code = work(call)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    print(json.dumps({"refused": refused()}), flush=True)
    for text in sys.stdin:
        order = json.loads(text)
        if "pid_file" in order:
            outcome = {"code": alone(order["call"], order["pid_file"]), "points": []}
        else:
            call = order.pop("call")
            seen = traced(lambda call=call: work(call), Path(order.pop("root")), **order)
            outcome = {"code": seen.code, "points": seen.points}
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
