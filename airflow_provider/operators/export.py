"""The operator that writes a run's exact history to a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider.hooks.storage import storage_options
from airflow_provider.lineage import Dataset, Lineage, columns_of, run_uri
from airflow_provider.links.run import WandbRunLink
from airflow_provider.operators.base import WandbOperator, remember_run, templated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api


class WandbExportHistoryOperator(WandbOperator):
    """Write every row of a run's history to one file, proven complete, or fail.

    Who reads the file sees the old one or the new one, never half of one. A Parquet file that already is what
    the server holds is left alone.

    Returns `wandb_ops.steps.ExportResult`: ``uri``, ``rows``, ``bytes``, ``columns``, ``first_step``,
    ``last_step``, ``sha256``, ``action`` and so on; never the data.

    :param run: (templated) entity/project/run_id, or a part of it that the connection completes.
    :param to: (templated) path or URL of the file. Give each run a file of its own, for instance with
        ``{{ ti.map_index }}`` or the run's id in it.
    :param format: ``"parquet"``, ``"csv"`` or ``"jsonl"``; None takes it from the suffix of ``to``.
        ``"delta"`` for the table of a lake, the very one that `WandbExportProjectOperator` keeps.
    :param keys: (templated) columns to keep; None keeps all.
    :param keys_mode: keep rows with ``"any"`` of the keys, or only those with ``"all"`` of them.
    :param min_step: (templated) first step taken.
    :param max_step: (templated) first step no longer taken; None for all.
    :param force: write even when nothing changed.
    :param require_finished: fail when the run has not ended.
    :param storage_conn_id: (templated) connection with the credentials of the store that ``to`` is in; None
        for what stands in the worker's environment.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = (
        "run",
        "to",
        "keys",
        "min_step",
        "max_step",
        "storage_conn_id",
        "wandb_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"keys": "json"}
    operator_extra_links = (WandbRunLink(),)

    def __init__(
        self,
        *,
        run: str,
        to: str | os.PathLike[str],
        format: Literal["parquet", "csv", "jsonl", "delta"] | None = None,
        keys: Sequence[str] | None = None,
        keys_mode: Literal["all", "any"] = "any",
        min_step: int | str = 0,
        max_step: int | str | None = None,
        force: bool = False,
        require_finished: bool = False,
        storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run = run
        self.to = templated(to)
        self.format = format
        self.keys = keys
        self.keys_mode = keys_mode
        self.min_step = min_step
        self.max_step = max_step
        self.force = force
        self.require_finished = require_finished
        self.storage_conn_id = storage_conn_id

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Write the file, or find that it is what it should be."""
        from wandb_ops import steps

        result = steps.export_history(
            api,
            run=self.run,
            to=os.fspath(self.to),
            format=self.format,
            keys=self.keys,
            keys_mode=self.keys_mode,
            min_step=int(self.min_step),
            max_step=None if self.max_step is None else int(self.max_step),
            force=self.force,
            require_finished=self.require_finished,
            storage_options=storage_options(self.storage_conn_id),
        )
        remember_run(self, context, path=result.path, url=result.url)
        self.log.info(
            "%s (%s): %d rows, %d bytes, of %s",
            result.uri,
            result.action,
            result.rows,
            result.bytes,
            result.url,
        )
        return result.to_json()

    def lineage(self, result: Mapping[str, Any]) -> Lineage:
        """From the run to the file."""
        written = Dataset(
            uri=result["uri"],
            columns=columns_of(result["columns"]),
            rows=result["rows"],
            size=result["bytes"] or None,
            version=result["sha256"] or None,
        )
        return Lineage((Dataset(uri=run_uri(result["path"])),), (written,))
