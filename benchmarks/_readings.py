"""One reading in a fresh interpreter: `python -m benchmarks._readings NAME RUN` prints its figures as JSON.

Each reading is a function that gets ready and returns what is to be timed. Getting ready is the same on both
sides: libraries imported, client made, connection open, run looked up.
"""

from __future__ import annotations

import gc
import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from benchmarks._server import ENTITY, KEY, PROJECT

Figures = tuple[int, float]
Read = Callable[[], Figures]

_PAGE = (
    "query Q($e:String!,$p:String!,$r:String!,$a:Int64!,$b:Int64!){project(name:$p,entityName:$e)"
    "{run(name:$r){history(minStep:$a,maxStep:$b,samples:1001)}}}"
)
_URLS = (
    "query Q($e:String!,$p:String!,$r:String!){project(name:$p,entityName:$e)"
    '{run(name:$r){parquetHistory(liveKeys:["_step"]){parquetUrls}}}}'
)


def ours_scan(run: str) -> Read:
    import wandb_ops
    import wandb_ops.history.read

    found = wandb_ops.Api().run(f"{ENTITY}/{PROJECT}/{run}")
    return lambda: _of_rows(list(found.scan_history()))


def ours_frame(run: str) -> Read:
    import wandb_ops
    from wandb_ops.history.read import read_table
    from wandb_ops.history.ref import RunRef

    api = wandb_ops.Api()
    found = api.run(f"{ENTITY}/{PROJECT}/{run}")
    ref = RunRef(found.entity, found.project, found.id)
    return lambda: _of_frame(read_table(api.transport, ref).to_pandas(keep=False))


def wandb_scan(run: str) -> Read:
    found = _wandb_run(run)
    return lambda: _of_rows(list(found.scan_history()))


def wandb_frame(run: str) -> Read:
    import pandas as pd

    found = _wandb_run(run)
    return lambda: _of_frame(pd.DataFrame(found.scan_history()))


def limit_pages(run: str) -> Read:
    """The least a client must do for dicts: get the pages, one at a time, and have a C parser read them."""
    import orjson

    session = _session()
    _ask(session, _PAGE, run, a=0, b=1)

    def read() -> Figures:
        rows: list[dict[str, Any]] = []
        while True:
            answer = _ask(session, _PAGE, run, a=len(rows), b=len(rows) + 1000)
            texts = orjson.loads(answer)["data"]["project"]["run"]["history"]
            if not texts:
                return _of_rows(rows)
            rows += orjson.loads("[" + ",".join(texts) + "]")

    return read


def limit_parser(run: str) -> Read:
    """`orjson.loads` of the same bytes, which are in memory already."""
    import orjson

    session, pages = _session(), []
    while True:
        page = _ask(session, _PAGE, run, a=len(pages) * 1000, b=len(pages) * 1000 + 1000)
        if not orjson.loads(page)["data"]["project"]["run"]["history"]:
            break
        pages.append(page)

    def read() -> Figures:
        rows: list[dict[str, Any]] = []
        for page in pages:
            texts = orjson.loads(page)["data"]["project"]["run"]["history"]
            rows += orjson.loads("[" + ",".join(texts) + "]")
        return _of_rows(rows)

    return read


def limit_parquet(run: str) -> Read:
    """`pyarrow.parquet.read_table` of the same files, which are in memory already, and to pandas."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = _parts(run)

    def read() -> Figures:
        return _of_frame(pa.concat_tables([pq.read_table(io.BytesIO(file)) for file in files]).to_pandas())

    return read


def limit_download(run: str) -> Read:
    """The same, the files downloaded first: one after the other, in one piece."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _parts(run)

    def read() -> Figures:
        return _of_frame(
            pa.concat_tables([pq.read_table(io.BytesIO(file)) for file in _parts(run)]).to_pandas()
        )

    return read


def ours_configs(project: str) -> Read:
    import wandb_ops

    api = wandb_ops.Api()
    return lambda: _of_runs(api.runs(f"{ENTITY}/{project}"))


def wandb_configs(project: str) -> Read:
    import wandb

    api = wandb.Api(timeout=600)
    return lambda: _of_runs(api.runs(f"{ENTITY}/{project}"))


def wandb_whole_configs(project: str) -> Read:
    import wandb

    api = wandb.Api(timeout=600)
    return lambda: _of_runs(api.runs(f"{ENTITY}/{project}", lazy=False))


READINGS: dict[str, Callable[[str], Read]] = {
    f.__name__: f
    for f in (
        ours_scan, ours_frame, wandb_scan, wandb_frame, limit_pages, limit_parser, limit_parquet,
        limit_download, ours_configs, wandb_configs, wandb_whole_configs,
    )
}  # fmt: skip


def _of_rows(rows: list[dict[str, Any]]) -> Figures:
    return len(rows), sum(row["train/m3"] for row in rows)


def _of_frame(frame: Any) -> Figures:
    return len(frame), float(frame["train/m3"].sum())


def _of_runs(runs: Any) -> Figures:
    seen = [(run.config["p3"], run.summary["m3"]) for run in runs]
    return len(seen), sum(map(sum, seen))


def _session() -> requests.Session:
    session = requests.Session()
    session.auth = ("api", KEY)
    return session


def _ask(session: requests.Session, query: str, run: str, **more: Any) -> bytes:
    body = json.dumps({"query": query, "variables": {"e": ENTITY, "p": PROJECT, "r": run, **more}})
    url = f"{os.environ['WANDB_BASE_URL']}/graphql"
    return session.post(url, data=body, headers={"Content-Type": "application/json"}).content


def _parts(run: str) -> list[bytes]:
    session = _session()
    found = json.loads(_ask(session, _URLS, run))["data"]["project"]["run"]
    return [requests.get(url).content for url in found["parquetHistory"]["parquetUrls"]]


def _wandb_run(run: str) -> Any:
    import wandb

    return wandb.Api(timeout=600).run(f"{ENTITY}/{PROJECT}/{run}")


def cpu() -> float:
    """CPU seconds of this process and of its living children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    ticks = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def main(reading: str, run: str) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Imports are not what is measured here.
    # All of these load more of themselves, and start threads, at first use.
    tiny = io.BytesIO()
    pq.write_table(pa.table({"a": [1.5, 2.5]}), tiny)
    pd.DataFrame({"a": pq.read_table(io.BytesIO(tiny.getvalue())).to_pandas()["a"]})
    read = READINGS[reading](run)
    gc.collect()
    before, started = cpu(), time.perf_counter()
    rows, total = read()
    wall = time.perf_counter() - started
    figures = {
        "wall": wall,
        "cpu": cpu() - before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows": rows,
        "sum": total,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    os._exit(0)  # the wandb client's child would be waited for otherwise


if __name__ == "__main__":
    main(*sys.argv[1:])
