"""Exporting: a long history to Parquet, and a project again in which nothing changed.

Run it with `make bench`, or `python -m benchmarks.export --rows 1000000`. Each reading is made in a fresh
interpreter against the same embedded server; the wandb client's way is the one of W&B's documentation,
`scan_history` into pandas into `to_parquet`. Wall time is from the first call to the finished file, without
imports; peak is the resident memory of the interpreter alone. Every file is read back and checked: the number
of rows and the sum of a column.
"""

from __future__ import annotations

import argparse
import collections
import gc
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from benchmarks.history import ENTITY, EXPORTED, KEY, PAGES, PROJECT, _cpu, log_runs, serve_in_process

MANY = "many"  # the project of many short runs


def ours(run: str, to: str) -> dict[str, Any]:
    from wandb_ops.export import export_run
    from wandb_ops.history.ref import RunRef
    from wandb_ops.settings import resolve
    from wandb_ops.transport.session import Transport

    done = export_run(Transport(resolve()), RunRef(ENTITY, PROJECT, run), to=to)
    return {"rows": done.rows, "mb": done.bytes / 1e6}


def wandb(run: str, to: str) -> dict[str, Any]:
    import pandas as pd
    import wandb

    found = wandb.Api(timeout=600).run(f"{ENTITY}/{PROJECT}/{run}")
    frame = pd.DataFrame(found.scan_history())
    frame.to_parquet(to)
    return {"rows": len(frame), "mb": Path(to).stat().st_size / 1e6}


def project(_run: str, to: str) -> dict[str, Any]:
    """Export the project of many runs; counts what is asked."""
    from wandb_ops.export import export_project
    from wandb_ops.public.api import Api

    api = Api()
    asked: collections.Counter[str] = collections.Counter()
    send = api.transport.post

    def post(path: str, body: bytes, *, operation: str, **rest: Any) -> Any:
        asked[operation] += 1
        return send(path, body, operation=operation, **rest)

    api.transport.post = post  # type: ignore[method-assign]
    kind: Any = "delta" if to.endswith("lake") else "parquet"
    done = export_project(api, project=MANY, to=to, format=kind)
    if not done.ok:
        raise SystemExit(str(done.not_taken[:3]))
    return {"rows": done.rows, "written": done.written, "unchanged": done.unchanged, "asked": dict(asked)}


READINGS: dict[str, Callable[[str, str], dict[str, Any]]] = {f.__name__: f for f in (ours, wandb, project)}


def child(reading: str, run: str, to: str) -> None:
    """One reading; its figures as one line of JSON."""
    import pyarrow.parquet as pq  # noqa: F401 - imports are not what is measured here

    if reading == "wandb":
        import pandas as pd  # noqa: F401 - the same; the other readings have no use for it
        import wandb as _  # noqa: F401 - the same
    if to.endswith("lake"):
        import deltalake  # noqa: F401 - the same
    gc.collect()
    before, started = _cpu(), time.perf_counter()
    figures = READINGS[reading](run, to)
    figures["wall"] = time.perf_counter() - started
    figures["cpu"] = _cpu() - before
    figures["peak_mb"] = peak_mb()
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    os._exit(0)  # the wandb client's child would be waited for otherwise


def peak_mb() -> float:
    """Largest resident memory since this program began; `ru_maxrss` counts the parent's at the fork too."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def measure(reading: str, run: str, to: Path, url: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
        places = {f"WANDB_{name}_DIR": home for name in ("CACHE", "DATA", "CONFIG", "ARTIFACT")}
        own = {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_ENTITY": ENTITY, "WANDB_DIR": home}
        command = [
            sys.executable,
            "-m",
            "benchmarks.export",
            "--child",
            reading,
            "--run",
            run,
            "--to",
            str(to),
        ]
        done = subprocess.run(
            command,
            env=clean | places | own | {"WANDB_SILENT": "true"},
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{reading} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def check(path: Path, expected: tuple[int, float]) -> None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    column = pq.read_table(path, columns=["train/m3"]).column(0)
    found = (len(column), round(float(pc.sum(column).as_py()), 5))
    if found != (expected[0], round(expected[1], 5)):
        raise SystemExit(f"{path} holds {found}, not {expected}")


def long_history(
    url: str, folder: Path, expected: tuple[int, float], readings: list[str]
) -> list[dict[str, Any]]:
    results = []
    for title, run in (("from pages", PAGES), ("from Parquet exports", EXPORTED)):
        print(f"\none run of {expected[0]:,} rows x 14 values to Parquet, {title}")
        print(f"  {'':<8}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'file MB':>9}{'wall x':>8}{'memory x':>10}")
        first: dict[str, Any] = {}
        for reading in readings:
            to = folder / f"{reading}-{run}.parquet"
            figures = measure(reading, run, to, url)
            check(to, expected)
            first = first or figures
            times = figures["wall"] / first["wall"], figures["peak_mb"] / first["peak_mb"]
            results.append({"work": title, "reading": reading, **figures})
            print(
                f"  {reading:<8}{figures['wall']:>9.2f}{figures['cpu']:>9.2f}{figures['peak_mb']:>9.0f}"
                f"{figures['mb']:>9.1f}{times[0]:>8.1f}{times[1]:>10.1f}",
                flush=True,
            )
    return results


def log_many(url: str, runs: int, rows: int) -> None:
    """Many short runs that have ended."""
    session = requests.Session()
    session.auth = ("api", KEY)
    upsert = (
        "mutation UpsertBucket($n:String!,$p:String!,$e:String!,$c:JSONString){upsertBucket(input:"
        "{name:$n,modelName:$p,entityName:$e,config:$c}){bucket{id}}}"
    )
    for number in range(runs):
        variables = {
            "n": f"r{number}",
            "p": MANY,
            "e": ENTITY,
            "c": json.dumps({"lr": {"value": number / 7}}),
        }
        session.post(f"{url}/graphql", json={"query": upsert, "variables": variables}).raise_for_status()
        lines = [
            json.dumps({"_step": s, "_timestamp": 1.0 * s, "loss": number / (s + 1)}) for s in range(rows)
        ]
        body = {
            "files": {"wandb-history.jsonl": {"offset": 0, "content": lines}},
            "complete": True,
            "exitcode": 0,
        }
        session.post(f"{url}/files/{ENTITY}/{MANY}/r{number}/file_stream", json=body).raise_for_status()


def many_runs(url: str, folder: Path, runs: int) -> list[dict[str, Any]]:
    results = []
    for title, name in (("files", "files"), ("Delta Lake", "lake")):
        print(f"\na project of {runs:,} runs x 20 rows to {title}")
        print(f"  {'':<22}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}  requests")
        for work in ("first export", "again, nothing new"):
            figures = measure("project", "", folder / name, url)
            results.append({"work": f"{runs} runs to {title}, {work}", **figures})
            asked = ", ".join(f"{n} {operation}" for operation, n in sorted(figures["asked"].items()))
            print(
                f"  {work:<22}{figures['wall']:>9.2f}{figures['cpu']:>9.2f}{figures['peak_mb']:>9.0f}  ",
                asked,
                flush=True,
            )
        if set(figures["asked"]) != {"ExportRuns"} or figures["unchanged"] != runs:
            raise SystemExit(f"the second export was not for free: {figures}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=1000, help="of the project of many runs; 0 leaves it out")
    parser.add_argument("--ours-only", action="store_true", help="leave the wandb client out")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--child", choices=sorted(READINGS), help=argparse.SUPPRESS)
    parser.add_argument("--run", default="", help=argparse.SUPPRESS)
    parser.add_argument("--to", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.run, options.to)
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as out:
        here, there = context.Pipe()
        server = context.Process(target=serve_in_process, args=(data, there), daemon=True)
        server.start()
        try:
            url, results = here.recv(), []
            if options.runs:
                log_many(url, options.runs, 20)
                results += many_runs(url, Path(out), options.runs)
            if options.rows:
                expected = (options.rows, log_runs(url, options.rows))
                readings = ["ours"] if options.ours_only else ["ours", "wandb"]
                results += long_history(url, Path(out), expected, readings)
        finally:
            server.terminate()
            server.join()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
