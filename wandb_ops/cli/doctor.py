"""`wandb-ops doctor`: which server, key, account and features are in use, and what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import click

from wandb_ops import errors
from wandb_ops.cli.output import json_option, pairs
from wandb_ops.redaction import redact


@dataclass
class Finding:
    """What the doctor found; `problem` is empty when all is well."""

    server: str = ""
    server_from: str = ""
    key_from: str = ""
    account: str = ""
    entity: str = ""
    project: str = ""
    teams: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    problem: str = ""


def examine() -> Finding:
    """Look step by step; the first thing that fails is the problem."""
    import wandb_ops
    from wandb_ops.protocol.storage import server_features
    from wandb_ops.settings import resolve

    finding = Finding()
    try:
        settings = resolve()
        finding.server, finding.server_from = settings.base_url, settings.base_url_source
        finding.key_from = settings.key_source
        finding.entity, finding.project = settings.entity or "", settings.project or ""
        api = wandb_ops.Api()
        viewer = api.viewer
        finding.account = f"{viewer.username} <{viewer.email}>" if viewer.email else str(viewer.username)
        finding.teams = sorted(viewer.teams)
        finding.entity = api.default_entity or ""
        finding.features = sorted(server_features(api.transport))
    except errors.Error as error:
        finding.problem = redact(str(error))
    return finding


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say which server, key, account and features are in use, and what is wrong."""
    finding = examine()
    if as_json:
        click.echo(json.dumps(vars(finding), indent=2))
    else:
        pairs(
            [
                ("server", f"{finding.server}  (from {finding.server_from})" if finding.server else ""),
                ("key", f"from {finding.key_from}" if finding.key_from else ""),
                ("account", finding.account),
                ("entity", finding.entity),
                ("project", finding.project),
                ("teams", ", ".join(finding.teams)),
                ("features", ", ".join(finding.features)),
                ("problem", finding.problem),
            ]
        )
        if not finding.problem:
            click.echo(click.style("all is well", fg="green"))
    if finding.problem:
        raise click.exceptions.Exit(1)
