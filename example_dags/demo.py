"""`make demo`: the whole story on a bare machine.

Starts the embedded server, trains a small model in three configurations, runs the example pipelines in
Airflow and in Dagster against it, and shows what came out. Everything it makes is below `.demo/`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

import wandb_ops
from example_dags.agent import Agent
from example_dags.train import CONFIGURATIONS, train_all
from wandb_ops import charts
from wandb_ops.cli.output import number, size, table
from wandb_ops.local.serve import LocalServer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent / ".demo"
CHILD_SECONDS = 900
ENTITY = "demo"  # `make ui` shows the same entity
PROJECTS = {"Airflow": "digits-airflow", "Dagster": "digits-dagster"}
QUEUE = "training-queue"
METRICS = {"validation/loss": "min", "validation/accuracy": "max"}

console = Console(highlight=False)


@contextlib.contextmanager
def chapter(title: str) -> Iterator[None]:
    """Say what happens now, and how long it took."""
    console.print(f"[bold]{title}[/bold]")
    begin = time.monotonic()
    yield
    console.print(f"  [dim]{time.monotonic() - begin:.0f} s[/dim]\n")


def run_child(module: str, *arguments: str, environ: dict[str, str]) -> None:
    """Run a module in a process group of its own, and leave nothing of it behind."""
    # A connection or setting of the user's own must not send the demo's data to a real account.
    own = ("WANDB_", "AIRFLOW_", "DAGSTER_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=HERE.parent,
        env={**inherited, **environ, "DAGSTER_DISABLE_TELEMETRY": "yes"},
        start_new_session=True,
    )
    try:
        status = child.wait(timeout=CHILD_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if status:
        console.print(f"[red]{module} failed with exit status {status}[/red]")
        sys.exit(1)


def main() -> None:
    """Run all chapters; the exit status is 0 only if all went well."""
    forget_the_last()
    logs, exports = ROOT / "tfevents", ROOT / "exports"
    with LocalServer(data=ROOT / "server", entity=ENTITY) as server:
        console.print(f"Embedded W&B server on {server.url}, data in {_short(server.data)}\n")
        with chapter(f"1. Train {len(CONFIGURATIONS)} models on handwritten digits, writing tfevents"):
            for name, metrics in train_all(logs).items():
                console.print(f"  {name:12} validation accuracy {metrics['accuracy']:.4f}")
        api = wandb_ops.Api(
            overrides={"base_url": server.url, "entity": server.entity}, api_key=server.api_key
        )
        with chapter("2. Airflow: create runs, sync TensorBoard, launch a job, wait, export, snapshot"):
            params = {
                "project": PROJECTS["Airflow"],
                "logdir": str(logs),
                "output_dir": str(exports / PROJECTS["Airflow"]),
                "queue": QUEUE,
                "image": "demo/digits:1",
            }
            agent = Agent(api, QUEUE, ROOT / "launched")
            agent.start()
            run_child(
                "example_dags._run_airflow",
                str(HERE / "wandb_training_pipeline.py"),
                "--conf",
                json.dumps(params),
                environ={**server.env, "AIRFLOW_HOME": str(ROOT / "airflow")},
            )
            agent.stop()
        with chapter("3. Dagster: the same story as assets"):
            run_child(
                "example_dags._run_dagster",
                environ={
                    **server.env,
                    "DAGSTER_HOME": str(ROOT / "dagster"),
                    "WANDB_PROJECT": PROJECTS["Dagster"],
                    "WANDB_OPS_DEMO_TFEVENTS": str(logs),
                    "WANDB_OPS_DEMO_EXPORTS": str(exports),
                    "WANDB_OPS_DEMO_SNAPSHOTS": str(exports),
                },
            )
        show_runs(api)
        show_files(exports)
        console.print(f"Chart        {_short(draw(api))}")
    console.print("The pages    [bold]make ui[/bold]  (the server again, on the same data; Ctrl-C ends it)")


def forget_the_last() -> None:
    """Remove what an earlier demo left, unless a server (`make ui`) still shows it."""
    lock = ROOT / "server" / "lock"
    if lock.exists():
        with lock.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.exit(
                    f"{_short(lock.parent)} is in use: end the server there (`make ui`) with Ctrl-C first"
                )
    if ROOT.exists():
        shutil.rmtree(ROOT)


def show_runs(api: wandb_ops.Api) -> None:
    """The runs of both projects, with their metrics."""
    rows = []
    for orchestrator, project in PROJECTS.items():
        for run in api.runs(f"{ENTITY}/{project}"):
            metrics = [run.summary.get(metric) for metric in METRICS]
            rows.append([orchestrator, run.name, run.state, run.history_line_count, *map(number, metrics)])
    table(["by", "run", "state", "rows", *METRICS], rows, title="Runs")


def show_files(folder: Path) -> None:
    """Every exported file, its rows and bytes; a line each, so that a narrow terminal cuts no name in two."""
    import pyarrow.parquet as pq

    console.print(f"[italic]Exported[/italic], below {_short(folder)}\n")
    console.print("[bold] rows     size  file[/bold]")
    for path in sorted(folder.rglob("*.parquet")):
        rows, bytes_ = pq.read_metadata(path).num_rows, size(path.stat().st_size)
        console.print(f"{rows:>5} {bytes_:>8}  {path.relative_to(folder)}", soft_wrap=True)
    console.print()


def draw(api: wandb_ops.Api) -> Path:
    """One chart of every run's validation loss, from the exact histories."""
    key = "validation/loss"
    series = {}
    for run in api.runs(f"{ENTITY}/{PROJECTS['Airflow']}"):
        rows = list(run.scan_history(keys=[key, "global_step"]))
        series[run.name] = ([row["global_step"] for row in rows], [row[key] for row in rows])
    target = ROOT / "validation-loss.png"
    target.write_bytes(
        charts.line_chart(series, title="Validation loss", x_label="epoch", y_label="log loss", format="png")
    )
    return target


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
