"""`wandb-ops doctor`: which server, key, account and features are in use, and what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import click

from wandb_ops import errors
from wandb_ops.cli.output import exit_code, json_option, pairs
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
    warning: str = ""
    problem: str = ""
    advice: str = ""
    exit_code: int = 0


def examine() -> Finding:
    """Look step by step; the first thing that fails is the problem."""
    finding = Finding()
    try:
        _look(finding)
    except errors.Error as error:
        finding.problem = redact(str(error))
        finding.advice = _advice(error, finding)
        finding.exit_code = exit_code(error)
    return finding


def _look(finding: Finding) -> None:
    import wandb_ops
    from wandb_ops.protocol.storage import server_features
    from wandb_ops.settings import named_server

    finding.server, finding.server_from = named_server()
    api = wandb_ops.Api()
    settings = api.transport.settings
    finding.server, finding.server_from = settings.base_url, settings.base_url_source
    finding.key_from = settings.key_source
    finding.entity, finding.project = settings.entity or "", settings.project or ""
    viewer = api.viewer
    finding.account = f"{viewer.username} <{viewer.email}>" if viewer.email else str(viewer.username)
    finding.teams = sorted(viewer.teams)
    finding.entity = settings.entity or api.default_entity or ""
    finding.features = sorted(server_features(api.transport))
    if finding.entity not in {viewer.username, viewer.entity, *finding.teams}:
        finding.warning = (
            f"runs go to the entity {finding.entity}, which is neither this account nor one of its teams"
        )


def _advice(error: errors.Error, finding: Finding) -> str:
    """What the error itself cannot know: that this was the first word with that server."""
    there = f"{finding.server} (from {finding.server_from})"
    if isinstance(error, errors.TransportError) and error.retryable:
        return f"Check that {there} is the right address and that the server is up."
    status = error.status if isinstance(error, errors.StatusError) else 0
    if isinstance(error, (errors.ProtocolError, errors.NotFoundError)) or status in (400, 405, 501):
        return f"What answers at {there} does not look like a W&B server."
    return ""


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
                ("warning", finding.warning),
                ("problem", finding.problem),
                ("advice", finding.advice),
            ]
        )
        if not (finding.problem or finding.warning):
            click.echo(click.style("all is well", fg="green"))
    if finding.problem:
        raise click.exceptions.Exit(finding.exit_code)
