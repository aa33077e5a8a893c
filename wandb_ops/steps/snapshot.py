"""One row per run, at one moment: the table that a team looks at every morning."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import UsageError
from wandb_ops.steps.results import MetricBest, MetricChange, SnapshotResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_ops.public.api import Api

Goal = Literal["min", "max", "last", "mean"]


def snapshot(
    api: Api,
    *,
    project: str,
    to: str,
    entity: str | None = None,
    metrics: Mapping[str, Goal | Sequence[Goal]] | None = None,
    filters: Mapping[str, Any] | None = None,
    at: str | None = None,
    format: Literal["parquet", "delta"] = "parquet",
    report: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> SnapshotResult:
    """Write state, config and summary of every run of a project to one Parquet file in folder `to`, or add
    them to the table `snapshots` of the lake `to`.

    Args:
        api: The client.
        project: Project name.
        to: Folder or URL; each snapshot is one file in it, named by its time.
        entity: User or team; None for the client's default.
        metrics: Summary keys to rank runs by, and whether the least ("min") or the greatest ("max") value is
            best; "last" and "mean" rank nothing: each run's last value and mean, by its summary or else by
            its whole history. A key may have a list of these.
        filters: Only runs that match, in W&B's filter language.
        at: ISO 8601 time the snapshot is for; None for now. The same `at` writes the same file, so an
            orchestrator passes the time of its own run.
        format: "parquet", or "delta" for a lake.
        report: Path or URL of an HTML page to write; it needs no network.
        storage_options: Options of the store that `to` is in, credentials among them, by the names of fsspec
            or of object_store; None takes them from the environment. They are written nowhere.
    """
    from wandb_ops.snapshot import take_snapshot

    taken = take_snapshot(
        api,
        project=project,
        entity=entity,
        to=to,
        metrics=dict(metrics or {}),
        filters=dict(filters) if filters else None,
        at=parse_time(at),
        format=format,
        report=report,
        storage_options=storage_options,
    )
    values = asdict(taken)
    values["best"] = tuple(MetricBest(**asdict(best)) for best in taken.best)
    values["changes"] = tuple(MetricChange(**asdict(change)) for change in taken.changes)
    return SnapshotResult(**values)


def parse_time(text: str | None) -> datetime:
    """`text` as an aware UTC time; None is now; a time without a zone is taken as UTC."""
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not an ISO 8601 time") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
