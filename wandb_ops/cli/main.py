"""`wandb-ops`: the group, and how errors become words and exit codes."""

from __future__ import annotations

import sys

import click

from wandb_ops import errors
from wandb_ops.cli.doctor import doctor
from wandb_ops.cli.local import local
from wandb_ops.cli.steps import export, finish, queue, runs, snapshot, sync_tensorboard, wait
from wandb_ops.redaction import redact, terminal_safe
from wandb_ops.version import __version__

EXIT_CODES = """\b
Exit codes:
  0   done
  1   failed, and a retry will not help
  2   the call is wrong
  3   no key, a refused key, or no permission
  4   not found
  5   the run or job waited for ended badly
  75  failed for now: a retry may help
"""


def exit_code(error: errors.Error) -> int:
    """The process's exit code for an error; see `EXIT_CODES`."""
    if isinstance(error, (errors.CredentialsError, errors.AuthenticationError, errors.PermissionDenied)):
        return 3
    if isinstance(error, errors.UsageError):
        return 2
    if isinstance(error, errors.NotFoundError):
        return 4
    if isinstance(error, (errors.RunFailed, errors.QueueItemFailed)):
        return 5
    return 75 if error.retryable else 1


class _Group(click.Group):
    """An `Error` becomes words on stderr and an exit code; anything else is a bug and stays a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except errors.Error as error:
            lines = [terminal_safe(redact(line)) for line in str(error).splitlines()]
            click.echo(f"wandb-ops: {type(error).__name__}: " + "\n  ".join(lines), err=True)
            ctx.exit(exit_code(error))


@click.group(cls=_Group, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wandb-ops")
def cli() -> None:
    """Weights & Biases for pipelines.

    The server, key, entity and project come from WANDB_BASE_URL, WANDB_API_KEY, WANDB_ENTITY and
    WANDB_PROJECT, else from W&B's settings file and netrc; `wandb-ops doctor` shows what is in use.
    """


for _command in (doctor, local, runs, sync_tensorboard, export, snapshot, queue, wait, finish):
    cli.add_command(_command)


def main() -> None:
    """Entry point of the console script."""
    cli.main(args=sys.argv[1:], prog_name="wandb-ops")
