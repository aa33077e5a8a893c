"""`wandb-ops`: the group, and how errors become words and exit codes."""

from __future__ import annotations

import sys

import click

from wandb_ops import errors
from wandb_ops.cli.doctor import doctor
from wandb_ops.cli.export import export, lake, plan, snapshot, verify
from wandb_ops.cli.local import local
from wandb_ops.cli.output import EXIT_CODES, exit_code
from wandb_ops.cli.steps import finish, queue, runs, wait
from wandb_ops.cli.tensorboard import sync_tensorboard
from wandb_ops.redaction import redact, terminal_safe
from wandb_ops.version import __version__


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
            ctx.exit(130)


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
    queue,
    wait,
    finish,
):
    cli.add_command(_command)


def main() -> None:
    """Entry point of the console script."""
    cli.main(args=sys.argv[1:], prog_name="wandb-ops")
