"""`wandb-ops local`: the embedded server in the foreground."""

from __future__ import annotations

import errno
from pathlib import Path

import click

from wandb_ops.errors import UsageError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".wandb-ops"),
    show_default=True,
    help="Folder for everything the server keeps; survives restarts.",
)
@click.option("--entity", default="local", show_default=True, help="Name of the server's own user.")
@click.option("--api-key", help="Default: one made once and kept in the data folder.")
@click.option(
    "--admin-key",
    envvar="WANDB_OPS_ADMIN_KEY",
    help="Opens the admin API, which makes users, teams and organizations. Default: there is none.",
)
def local(host: str, port: int, data: Path, entity: str, api_key: str | None, admin_key: str | None) -> None:
    """Run the embedded W&B-compatible server until Ctrl-C.

    The `wandb` SDK, this package and a browser can all talk to it.
    """
    try:
        from wandb_ops.local.serve import serve
    except ImportError as error:
        raise UsageError(
            f"the embedded server needs {error.name}", hint="pip install 'wandb-ops[local]'"
        ) from error

    answered = False

    def ready(url: str, key: str) -> None:
        nonlocal answered
        answered = True
        click.echo(f"ready {url}")
        click.echo(f"\nexport WANDB_BASE_URL={url} WANDB_API_KEY={key} WANDB_ENTITY={entity}\n")
        click.echo(f"pages {url}/login?key={key}")
        click.echo(f"data  {data.resolve()}")
        click.echo("Ctrl-C ends it")

    try:
        serve(
            host=host,
            port=port,
            data=data,
            entity=entity,
            api_key=api_key,
            ready=ready,
            admin_key=admin_key or None,
        )
    except (OSError, RuntimeError) as error:
        if answered:  # it was running: a bug, or a disk that fails, and not the call
            raise
        raise _cannot_start(error, data, host, port) from error


def _cannot_start(error: OSError | RuntimeError, data: Path, host: str, port: int) -> UsageError:
    """The error in words: the port, the address or the folder is not to be had."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES) and not error.filename:
        return UsageError(
            f"cannot listen on port {port} of {host}: {reason}",
            hint="Name another --port, or none for a free one.",
        )
    if isinstance(error, OSError) and not error.filename:
        return UsageError(f"cannot listen on {host}: {reason}", hint="Name an address of this machine.")
    return UsageError(
        f"cannot keep data in {data.resolve()}: {reason}", hint="Name another folder with --data."
    )
