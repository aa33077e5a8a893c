"""`wandb-ops`: the group, and how errors become words and exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

import click

from wandb_ops import errors
from wandb_ops.cli.artifacts import artifact
from wandb_ops.cli.doctor import doctor
from wandb_ops.cli.export import export, lake, plan, snapshot, verify
from wandb_ops.cli.local import local
from wandb_ops.cli.output import EXIT_CODES, exit_code
from wandb_ops.cli.steps import finish, queue, runs, wait
from wandb_ops.cli.sweeps import sweep
from wandb_ops.cli.tensorboard import sync_tensorboard
from wandb_ops.redaction import redact, terminal_safe
from wandb_ops.version import __version__

_INTERRUPTED = 130


class _Group(click.Group):
    """An `Error` becomes words on stderr and an exit code; anything else is a bug and stays a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except errors.Error as error:
            lines = [terminal_safe(redact(line)) for line in str(error).splitlines()]
            click.echo(f"wandb-ops: {type(error).__name__}: " + "\n  ".join(lines), err=True)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            click.echo("wandb-ops: interrupted; the same command can be given again", err=True)
            ctx.exit(_INTERRUPTED)


@click.group(
    cls=_Group,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="wandb-ops")
def cli() -> None:
    """Weights & Biases for pipelines.

    The server, key, entity and project come from WANDB_BASE_URL, WANDB_API_KEY, WANDB_ENTITY and
    WANDB_PROJECT, else from W&B's settings file and netrc; `wandb-ops doctor` shows what is in use.
    """


for _command in (
    doctor,
    local,
    runs,
    sync_tensorboard,
    export,
    plan,
    verify,
    snapshot,
    lake,
    artifact,
    queue,
    sweep,
    wait,
    finish,
):
    cli.add_command(_command)


def main() -> None:
    """Entry point of the console script."""
    try:
        cli.main(args=sys.argv[1:], prog_name="wandb-ops")
    except SystemExit as end:
        if end.code == _INTERRUPTED and _others_work():
            # Python would wait for their requests, which may take minutes to give up. What they leave behind
            # is what a killed process leaves, and the next one clears away.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(_INTERRUPTED)
        raise


def _others_work() -> bool:
    """Whether threads are left for which Python waits at its end."""
    mine = threading.current_thread()
    return any(thread is not mine and not thread.daemon for thread in threading.enumerate())
