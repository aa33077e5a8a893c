"""Run the Dagster example once, in this process, and say what came of it.

What `dagster dev` would do over a day happens here in seconds: the trainings become runs, one tick of the
sensor finds them, its requests are materialized, and the snapshot is taken. With DAGSTER_HOME set, the events
stay there for the Dagster UI; without it nothing is left.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")

import dagster as dg

from example_dags.dagster_pipeline import TRAININGS, defs, ended_runs, history, queue, snapshot, trainings

ASSETS = [trainings, queue, history, snapshot]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SHOWN = ("state", "action", "rows", "rows_sent", "bytes", "runs")
DAGSTER_YAML = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


def main() -> int:
    """Materialize everything; the exit status is 0 only if every step and every check passed."""
    with dagster_instance() as instance:
        filled = [materialize(instance, queue)]
        filled += [materialize(instance, trainings, training) for training in TRAININGS]
        if not all(filled):
            return 1
        exported = [materialize(instance, history, run_id) for run_id in tick(instance)]
        return 0 if materialize(instance, snapshot) and all(exported) else 1


@contextlib.contextmanager
def dagster_instance() -> Iterator[dg.DagsterInstance]:
    """The instance in DAGSTER_HOME, or one that ends with this process."""
    with contextlib.ExitStack() as stack:
        if not os.environ.get("DAGSTER_HOME"):
            os.environ["DAGSTER_HOME"] = stack.enter_context(tempfile.TemporaryDirectory())
        settings = Path(os.environ["DAGSTER_HOME"]) / "dagster.yaml"
        settings.parent.mkdir(parents=True, exist_ok=True)
        if not settings.exists():
            settings.write_text(DAGSTER_YAML)
        yield stack.enter_context(dg.DagsterInstance.get())


def tick(instance: dg.DagsterInstance) -> list[str]:
    """One tick of the sensor: its partitions are added, and the run ids that it requests returned."""
    ref = instance.get_ref()
    with dg.build_sensor_context(instance_ref=ref, definitions=defs, resources=defs.resources) as context:
        outcome = ended_runs.evaluate_tick(context)
    for request in outcome.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return [request.partition_key for request in outcome.run_requests or [] if request.partition_key]


def materialize(
    instance: dg.DagsterInstance, asset: dg.AssetsDefinition, partition: str | None = None
) -> bool:
    """Materialize one asset, or one partition of it, and print what its metadata say."""
    result = dg.materialize(
        ASSETS,
        selection=[asset],
        partition_key=partition,
        instance=instance,
        resources=defs.resources,
        run_config=QUIET,
        raise_on_error=False,
    )
    name = asset.key.to_user_string() + (f" | {partition}" if partition else "")
    if not result.success:
        print(f"  {name}: failed", *failures(result), sep="\n    ")
        return False
    for event in result.get_asset_materialization_events():
        metadata = event.materialization.metadata
        found = [f"{key.split('/')[-1]} {metadata[key].value}" for key in SHOWN if key in metadata]
        print(f"  {name}", f"    {', '.join(found)}", sep="\n")
    return all(check.passed for check in result.get_asset_check_evaluations())


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """Why steps failed: the error and what caused it."""
    found = []
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        while error is not None:
            found.append(error.message.strip())
            error = error.cause
    return found


if __name__ == "__main__":
    sys.exit(main())
