"""`wandb-ops local`: the embedded server in the foreground."""

from __future__ import annotations

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
@click.option("--entity", default="local", show_default=True, help="Name of the one account.")
@click.option("--api-key", help="Default: one made once and kept in the data folder.")
def local(host: str, port: int, data: Path, entity: str, api_key: str | None) -> None:
    """Run the embedded W&B-compatible server until Ctrl-C.

    The `wandb` SDK, this package and a browser can all talk to it.
    """
    try:
        from wandb_ops.local.serve import serve
    except ImportError as error:
        raise UsageError(
            f"the embedded server needs {error.name}", hint="pip install 'wandb-ops[local]'"
        ) from error

    def ready(url: str, key: str) -> None:
        click.echo(f"ready {url}")
        click.echo(f"\nexport WANDB_BASE_URL={url} WANDB_API_KEY={key} WANDB_ENTITY={entity}\n")
        click.echo(f"pages {url}/login?key={key}")
        click.echo(f"data  {data.resolve()}")
        click.echo("Ctrl-C ends it")

    serve(host=host, port=port, data=data, entity=entity, api_key=api_key, ready=ready)
