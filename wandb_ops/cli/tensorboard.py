"""`wandb-ops sync-tensorboard`: a folder of tfevents into a run, once or for as long as it grows."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from wandb_ops import steps
from wandb_ops.cli.output import json_option, pairs, show, size
from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from wandb_ops.steps.results import SyncResult


@click.command("sync-tensorboard")
@click.argument("root_dir")
@click.option(
    "--run-id", help="Run to fill; default: derived from the folder, so a second sync finds it again."
)
@click.option("--project")
@click.option("--entity")
@click.option("--finish/--no-finish", default=True, show_default=True, help="End the run afterwards.")
@click.option("--reopen", is_flag=True, help="With --no-finish: reopen a run that has ended.")
@click.option("--follow", is_flag=True, help="Go on while the folder grows, until Ctrl-C, SIGTERM or --idle.")
@click.option(
    "--idle",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="With --follow: end after so long without anything new.",
)
@click.option(
    "--poll",
    type=click.FloatRange(min=0.01),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="With --follow: time between two looks.",
)
@click.option("--prefixed-step", is_flag=True, help="Also log DIRECTORY/global_step, as wandb 0.29 did.")
@click.option(
    "--progress/--no-progress", default=None, help="Show a bar; default: when stderr is a terminal."
)
@json_option
def sync_tensorboard(
    root_dir: str,
    run_id: str | None,
    project: str | None,
    entity: str | None,
    finish: bool,
    reopen: bool,
    follow: bool,
    idle: float | None,
    poll: float,
    prefixed_step: bool,
    progress: bool | None,
    as_json: bool,
) -> None:
    """Send the tfevents below ROOT_DIR that the run does not have yet.

    ROOT_DIR is a folder, or the URL of one in a store (s3://bucket/logs).
    """
    if idle is not None and not follow:
        raise UsageError("--idle only means something with --follow")
    import wandb_ops

    with _bar(wanted=progress) as tell:
        if follow:
            with _stop_on_signals() as stop:
                result = steps.follow_tensorboard(
                    wandb_ops.Api(),
                    root_dir,
                    run_id=run_id,
                    project=project,
                    entity=entity,
                    finish=finish,
                    on_finished="resume" if reopen else "error",
                    prefixed_step=prefixed_step,
                    poll_interval=poll,
                    idle_limit=idle,
                    should_stop=stop.is_set,
                    progress=tell,
                    sleep=stop.wait,
                )
        else:
            result = steps.sync_tensorboard(
                wandb_ops.Api(),
                root_dir,
                run_id=run_id,
                project=project,
                entity=entity,
                finish=finish,
                on_finished="resume" if reopen else "error",
                prefixed_step=prefixed_step,
                progress=tell,
            )
    show(result, as_json=as_json, people=lambda: _show(result))


def _show(result: SyncResult) -> None:
    left_out = sorted(result.left_out.items())
    pairs(
        [
            ("run", result.path),
            ("url", result.url),
            ("rows", f"{result.rows} new, {result.history_lines} in all"),
            ("values", f"{result.scalars} scalars, {result.media} histograms and media"),
            ("read", f"{result.files} files, {size(result.bytes_read)}"),
            ("damaged", size(result.bytes_skipped) if result.bytes_skipped else ""),
            ("left out", ", ".join(f"{count} {reason}" for reason, count in left_out)),
        ]
    )


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one of the same ends the program at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only that one may listen
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bar(*, wanted: bool | None) -> Iterator[Callable[[int, int, int], None] | None]:
    """A progress bar on stderr when somebody looks."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]:,} rows sent"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None, rows=0)

        def tell(done: int, total: int, rows: int) -> None:
            bars.update(task, completed=done, total=max(done, total), rows=rows)

        yield tell
