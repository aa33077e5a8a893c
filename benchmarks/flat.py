"""Does memory grow with the data? Listing and exporting many runs, and exporting one very long run.

`python -m benchmarks flat`, or `python -m benchmarks.flat --runs 10000 100000 --rows 1000000 10000000`. The
embedded server's database is filled directly, so that only reading takes time; every reading is made
in a fresh interpreter, and its peak is the resident memory of that interpreter, imports included. What was
written is read back and counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTITY, KEY = "local", "b" * 40
_BATCH = 5000
_SERVE = """
import sys
from wandb_ops.local.serve import LocalServer
options = {"entity": "local", "api_key": sys.argv[2], "parquet_after_rows": int(sys.argv[3])}
with LocalServer(data=sys.argv[1], **options) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def served(data: Path, *, parquet_after_rows: int = 10**9) -> Iterator[str]:
    """The embedded server over a folder."""
    command = [sys.executable, "-c", _SERVE, str(data), KEY, str(parquet_after_rows)]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert server.stdout is not None
    assert server.stdin is not None
    try:
        url = server.stdout.readline().strip()
        if not url:
            raise SystemExit("the server did not start")
        yield url
    finally:
        server.stdin.close()
        server.wait(timeout=60)
        server.stdout.close()


def fill(data: Path, runs: int, rows: int) -> None:
    """A project `runs` of so many runs without history, and one run `long` with so many rows."""
    from wandb_ops.local.database.store import Store
    from wandb_ops.local.serve import LocalServer
    from wandb_ops.protocol.runs import upsert_run
    from wandb_ops.public.api import Api

    with LocalServer(data=data, entity=ENTITY, api_key=KEY) as server:
        api = Api({"base_url": server.url, "entity": ENTITY}, api_key=KEY)
        for project in ("runs", "long"):
            upsert_run(api.transport, entity=ENTITY, project=project, run_id="first")
        store: Store = server.service.store
        with store.writing() as db:
            _insert_runs(db, runs - 1)
        for start in range(0, rows, 50_000):
            with store.writing() as db:
                _insert_rows(db, start, min(start + 50_000, rows))
        with store.writing() as db:
            db.execute("UPDATE runs SET history_lines=?, state='finished', exitcode=0 WHERE name='first' AND"
                       " project=(SELECT id FROM projects WHERE name='long')", (rows,))  # fmt: skip
            _count_keys(db, rows)


def _insert_runs(db: Any, count: int) -> None:
    (project,) = db.execute("SELECT id FROM projects WHERE name='runs'").fetchone()
    rng = random.Random(5)
    now = int(time.time() * 1000)
    for start in range(0, count, _BATCH):
        batch = []
        for number in range(start, min(start + _BATCH, count)):
            config = {f"c{n}": {"value": rng.random()} for n in range(15)} | {
                "name": {"value": f"model {number}"}
            }
            summary = {f"metric{n}": rng.random() for n in range(15)}
            batch.append(
                (
                    project,
                    f"r{number:06}",
                    f"run {number}",
                    json.dumps(config),
                    json.dumps(summary),
                    now + number,
                )
            )
        db.executemany(
            "INSERT INTO runs(project, name, display_name, config, summary, tags, state, exitcode,"
            " created_at, updated_at, heartbeat_at)"
            " VALUES(?1, ?2, ?3, ?4, ?5, '[]', 'finished', 0, ?6, ?6, ?6)",
            batch,
        )


def _insert_rows(db: Any, low: int, high: int) -> None:
    """Lines are put together as text: a JSON encoder would take most of the time."""
    (run,) = db.execute(
        "SELECT id FROM runs WHERE name='first' AND project=(SELECT id FROM projects WHERE name='long')"
    ).fetchone()
    rng = random.Random(low)
    pool = [repr(rng.random()) for _ in range(10_000)]
    batch = []
    for step in range(low, high):
        at = rng.randrange(9_900)
        values = ", ".join([f'"train/m{n}": {pool[at + 11 * n]}' for n in range(9)])
        text = (
            f'{{"_step": {step}, "_timestamp": {1.7e9 + step * 0.37}, "_runtime": {step * 0.37}, {values},'
            f' "lr": {1e-3 / (1 + step)}, "epoch": {step // 100}}}'
        )
        batch.append((run, step, step, text))
    db.executemany("INSERT INTO lines(run, file, line, step, text) VALUES(?, 0, ?, ?, ?)", batch)


def _count_keys(db: Any, rows: int) -> None:
    """What the server would count when it is first asked, which takes it minutes."""
    (run,) = db.execute(
        "SELECT id FROM runs WHERE name='first' AND project=(SELECT id FROM projects WHERE name='long')"
    ).fetchone()
    names = ["_step", "_timestamp", "_runtime", *(f"train/m{n}" for n in range(9)), "lr", "epoch"]
    counts = [{name: {"number": rows} for name in names}, {}]
    db.execute("INSERT OR REPLACE INTO history_keys VALUES(?, ?, ?)", (run, rows, json.dumps(counts)))


def _api() -> tuple[Any, Counter[str]]:
    from wandb_ops.public.api import Api

    api, asked = Api(), Counter[str]()
    send = api.transport.post

    def post(path: str, body: bytes, *, operation: str, **rest: Any) -> Any:
        asked[operation] += 1
        return send(path, body, operation=operation, **rest)

    api.transport.post = post  # type: ignore[method-assign]
    return api, asked


def runs_to(to: str) -> dict[str, Any]:
    """The table of runs of the project, to a file or a lake."""
    from wandb_ops.export import export_project

    api, asked = _api()
    kind: Any = "delta" if to.endswith("lake") else "parquet"
    done = export_project(api, project="runs", to=to, include=("runs",), format=kind)
    if not done.ok:
        raise SystemExit(str(done.not_taken[:3]))
    return {"runs": done.runs, "requests": sum(asked.values())}


def plan_of(to: str) -> dict[str, Any]:
    """A plan of the project with all its histories, which are empty."""
    from wandb_ops.export import plan_export

    api, asked = _api()
    return {"runs": plan_export(api, project="runs", to=to).runs, "requests": sum(asked.values())}


def snapshot_to(to: str) -> dict[str, Any]:
    """A snapshot; its table stays on disk. The second one is compared with the first."""
    from wandb_ops.snapshot import take_snapshot

    api, asked = _api()
    metrics: Any = {"metric1": "min"}
    taken = take_snapshot(api, project="runs", to=to, metrics=metrics)
    return {"runs": taken.runs, "requests": sum(asked.values())}


def loop_over(_to: str) -> dict[str, Any]:
    """`for run in api.runs(...)`, with one value of each config and summary; then the first run again."""
    api, asked = _api()
    runs = api.runs("runs", per_page=200)
    count, total = 0, 0.0
    for run in runs:
        count, total = count + 1, total + run.config.get("c3", 0.0) + run.summary.get("metric3", 0.0)
    requests = sum(asked.values())
    if len(runs) != count or runs[1].id != "r000000" or not 0 < total < 2 * count:
        raise SystemExit("the runs are not those that were stored")
    return {"runs": count, "requests": requests}


def long_to(to: str) -> dict[str, Any]:
    """The long history, to one file."""
    from wandb_ops.export import export_run
    from wandb_ops.history.ref import RunRef

    api, asked = _api()
    done = export_run(api.transport, RunRef(ENTITY, "long", "first"), to=to)
    return {"rows": done.rows, "mb": done.bytes / 1e6, "requests": sum(asked.values())}


READINGS = {f.__name__: f for f in (runs_to, plan_of, snapshot_to, loop_over, long_to)}


def child(reading: str, to: str) -> None:
    """One reading; its figures as one line of JSON."""
    import resource

    from benchmarks.export import peak_mb

    started = time.perf_counter()
    figures = READINGS[reading](to)
    figures["wall"] = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures["cpu"] = usage.ru_utime + usage.ru_stime
    figures["peak_mb"] = peak_mb()
    sys.stdout.write(json.dumps(figures) + "\n")


def measure(reading: str, to: Path, url: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
        own = {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_ENTITY": ENTITY, "WANDB_DIR": home}
        command = [sys.executable, "-m", "benchmarks.flat", "--child", reading, "--to", str(to)]
        done = subprocess.run(
            command, env=clean | own, cwd=Path(__file__).parent.parent, capture_output=True, text=True,
            timeout=3600, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{reading} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def report(title: str, figures: dict[str, Any]) -> None:
    size = figures.get("runs", figures.get("rows", 0))
    print(
        f"  {title:<34}{size:>12,}{figures['wall']:>9.1f}{figures['cpu']:>9.1f}{figures['peak_mb']:>9.0f}"
        f"{figures['requests']:>10}",
        flush=True,
    )


def many(runs: int, work: Path) -> None:
    import pyarrow.parquet as pq
    from deltalake import DeltaTable

    fill(work / "data", runs, 0)
    with served(work / "data") as url:
        report("runs to Parquet", measure("runs_to", work / "files", url))
        if pq.read_metadata(work / "files" / "runs.parquet").num_rows != runs:
            raise SystemExit("runs are missing in the file")
        report("the same again", measure("runs_to", work / "files", url))
        report("runs to Delta Lake", measure("runs_to", work / "lake", url))
        report("the same again", measure("runs_to", work / "lake", url))
        if DeltaTable(str(work / "lake" / "runs")).to_pyarrow_dataset().count_rows() != runs:
            raise SystemExit("runs are missing in the lake")
        report("plan", measure("plan_of", work / "plan", url))
        report("snapshot", measure("snapshot_to", work / "snapshots", url))
        report("snapshot, compared", measure("snapshot_to", work / "snapshots", url))
        report("for run in api.runs(...)", measure("loop_over", work, url))


def one_long(rows: int, work: Path) -> None:
    import pyarrow.parquet as pq

    fill(work / "data", 1, rows)
    for title, after in (("from pages", 10**9), ("from Parquet exports", 1)):
        with served(work / "data", parquet_after_rows=after) as url:
            if after == 1:
                finish(url)
            to = work / f"{after}.parquet"
            report(f"one run to Parquet, {title}", measure("long_to", to, url))
            if pq.read_metadata(to).num_rows != rows:
                raise SystemExit("rows are missing in the file")


def finish(url: str) -> None:
    """End the long run once more: that is when a server exports."""
    import requests

    body = {"complete": True, "exitcode": 0}
    address = f"{url}/files/{ENTITY}/long/first/file_stream"
    requests.post(address, json=body, auth=("api", KEY), timeout=3600).raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--child", choices=sorted(READINGS), help=argparse.SUPPRESS)
    parser.add_argument("--to", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.to)
        return
    print(f"  {'':<34}{'runs or rows':>12}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'requests':>10}")
    for runs in options.runs:
        with tempfile.TemporaryDirectory() as work:
            many(runs, Path(work))
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as work:
            one_long(rows, Path(work))


if __name__ == "__main__":
    main()
