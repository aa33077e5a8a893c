"""`wandb_launch_asset`: a training that W&B Launch runs; and the sensor that learns how it ended."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_resources.artifacts import dagster_run_id
from dagster_resources.metadata import launch_metadata
from dagster_resources.resource import WandbResource
from dagster_resources.translator import WandbLaunchProps, WandbTranslator
from wandb_ops.errors import Error, NotFoundError, QueueItemFailed, RateLimited, RunFailed

RunConfig = Mapping[str, Any] | Callable[[str | None], Mapping[str, Any]]

_WEEK = 7 * 24 * 3600.0
_JOB = ("queue", "item_id", "project", "entity", "run_id")


def wandb_launch_asset(
    *,
    name: str,
    queue: str,
    project: str,
    entity: str | None = None,
    job: str | None = None,
    docker_image: str | None = None,
    run_config: RunConfig | None = None,
    entry_point: Sequence[str] | None = None,
    arguments: Sequence[str] | None = None,
    resource_args: Mapping[str, Any] | None = None,
    template_variables: Mapping[str, Any] | None = None,
    priority: int | None = None,
    partitions_def: dg.PartitionsDefinition[str] | None = None,
    wait: bool = True,
    timeout: float = _WEEK,
    poll_interval: float = 30.0,
    relaunch: bool = True,
    translator: WandbTranslator | None = None,
    deps: Iterable[Any] = (),
    pool: str | None = None,
    resource_key: str = "wandb",
) -> dg.AssetsDefinition:
    """An asset that is a run done by W&B Launch: the job is put on a queue, and its end waited for.

    The run's id comes from asset key, partition and Dagster run: a step that is retried, or a run that is
    re-executed from failure, finds its own run and queues nothing; a new materialization is a new run. A
    Dagster run that is terminated while it waits takes the job off the queue, or has its run stop.

    Args:
        name: Last part of the asset key, and the run's name.
        queue: The launch queue.
        project: W&B project that the run is logged to.
        entity: User or team; None takes the resource's default.
        job: `entity/project/job-name:alias`; or
        docker_image: an image.
        run_config: Hyperparameters, or a function from partition key to them.
        entry_point: The command, in place of the job's.
        arguments: Arguments of the command.
        resource_args: `{resource: {...}}`, over the queue's own config.
        template_variables: Values of the queue's template variables.
        priority: 0 (critical) to 3 (low), where the queue has priorities.
        partitions_def: One run per partition; None for a single run.
        wait: Hold the step until the run has ended, and fail when it ended badly. False materializes as soon
            as the job is queued; `build_wandb_launch_sensor` then tells of the end.
        timeout: Seconds to wait at most.
        poll_interval: Seconds between looks.
        relaunch: When the run ended badly, a retry of the step, by the retry policy of the job, or a
            re-execution launches another one. False finds the same bad end again.
        translator: Names, groups and tags of the asset.
        deps: Assets this one comes after.
        pool: Concurrency pool; none by default, since a step that waits asks W&B little.
        resource_key: Key of the `WandbResource`.
    """
    props = WandbLaunchProps(name=name, queue=queue, project=project, entity=entity)
    spec = (translator or WandbTranslator()).get_asset_spec(props).merge_attributes(deps=list(deps))

    @dg.multi_asset(
        name=spec.key.to_python_identifier(),
        specs=[spec],
        partitions_def=partitions_def,
        backfill_policy=dg.BackfillPolicy.multi_run() if partitions_def else None,
        pool=pool,
        required_resource_keys={resource_key},
    )
    def launch(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # no value is returned
        wandb: WandbResource = getattr(context.resources, resource_key)
        key = context.partition_key if partitions_def is not None else None
        with wandb.failures(retried=(RunFailed, QueueItemFailed) if relaunch else ()):
            queued = wandb.enqueue_job(
                queue=queue,
                project=project,
                entity=wandb.resolve_entity(entity),
                job=job,
                docker_image=docker_image,
                run_id=dagster_run_id(context.run, *spec.key.path, key),
                name=key or name,
                run_config=run_config(key) if callable(run_config) else run_config,
                entry_point=entry_point,
                arguments=arguments,
                resource_args=resource_args,
                template_variables=template_variables,
                priority=priority,
                relaunch=relaunch and is_another_try(context.run, context.retry_number),
            )
            context.log.info("%s: %s", queued.path, "queued" if queued.enqueued else "there already")
            where = {name: getattr(queued, name) for name in _JOB}
            if wait:
                try:
                    wandb.wait_for_queued_run(**where, timeout=timeout, poll_interval=poll_interval)
                except dg.DagsterExecutionInterruptedError:
                    _take_back(context, wandb, where)
                    raise
            status = wandb.queued_run_status(**where)
        return dg.MaterializeResult(asset_key=spec.key, metadata=launch_metadata(status, queued.run_id))

    return launch


def build_wandb_launch_sensor(
    launch: dg.AssetsDefinition,
    *,
    target: Any = None,
    states: Sequence[str] = ("finished",),
    name: str | None = None,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    resource_key: str = "wandb",
) -> dg.SensorDefinition:
    """A sensor that learns how the jobs of `wandb_launch_asset(wait=False)` ended.

    It follows each job that the asset queued from its materialization to its end, records the end as an
    observation of the asset (`state`, the run's link), and requests `target` for the runs that ended in one
    of `states`, tagged `wandb/run`. The cursor holds how far the asset's events were read and the jobs that
    are still open, so it survives restarts.

    Args:
        launch: What `wandb_launch_asset` returned.
        target: Job or assets to run after each, for the asset's partition where they have partitions, too.
            None only records.
        states: Ends that count.
        name: None takes the asset's name.
        minimum_interval_seconds: Time between ticks.
        default_status: Whether it starts running.
        resource_key: Key of the `WandbResource`.
    """
    key = launch.key
    sensor_name = name or f"{launch.op.name}_ends"

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        wandb: WandbResource = getattr(context.resources, resource_key)
        cursor: dict[str, Any] = json.loads(context.cursor) if context.cursor else {"after": 0, "open": []}
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, after_storage_id=cursor["after"]), limit=100, ascending=True
        ).records
        jobs = [*cursor["open"], *filter(None, map(_queued_job, records))]
        after = max((record.storage_id for record in records), default=cursor["after"])
        going_on: list[dict[str, Any]] = []
        events: list[dg.AssetObservation] = []
        requests: list[dg.RunRequest] = []
        for number, job in enumerate(jobs):
            try:
                status = wandb.queued_run_status(**{name: job[name] for name in _JOB})
            except RateLimited as error:
                context.log.warning("W&B asks to slow down; the rest is looked at later: %s", error)
                going_on += jobs[number:]
                break
            except (QueueItemFailed, NotFoundError) as error:
                context.log.warning("%s", error)
                events.append(
                    _end(
                        key,
                        job,
                        {
                            "state": dg.MetadataValue.text("no run"),
                            "error": dg.MetadataValue.text(str(error)),
                        },
                    )
                )
                continue
            if status.run is None or not status.run.terminal:
                going_on.append(job)
                continue
            events.append(_end(key, job, launch_metadata(status, job["run_id"])))
            if status.run.state in states:
                requests.append(
                    dg.RunRequest(
                        run_key=status.run.path,
                        partition_key=job.get("partition")
                        if takes_partitions(context, sensor_name)
                        else None,
                        tags={"wandb/run": status.run.path, "wandb/state": status.run.state},
                    )
                )
        following = json.dumps({"after": after, "open": going_on})
        if not events:
            context.update_cursor(following)
            return dg.SkipReason(f"{len(going_on)} jobs have not ended" if going_on else "No job is open")
        return dg.SensorResult(
            asset_events=events, run_requests=requests if target is not None else None, cursor=following
        )

    return dg.SensorDefinition(
        name=sensor_name,
        evaluation_fn=tick,
        target=target,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys={resource_key},
        description=f"Learns how the jobs of {key.to_user_string()} ended.",
    )


def is_another_try(run: dg.DagsterRun, retry_number: int) -> bool:
    """Whether a step ran before: it is retried, or its Dagster run is executed again."""
    return retry_number > 0 or run.root_run_id is not None


def takes_partitions(context: dg.SensorEvaluationContext, sensor_name: str) -> bool:
    """Whether what a sensor starts has partitions: Dagster refuses a partition key for what has none."""
    repository = context.repository_def
    if repository is None:
        return True
    targets = repository.get_sensor_def(sensor_name).targets
    return any(repository.get_job(target.job_name).partitions_def is not None for target in targets)


def _take_back(context: dg.AssetExecutionContext, wandb: WandbResource, job: Mapping[str, Any]) -> None:
    """Cancel the job of a run that is terminated; that this fails must not have the step run again."""
    try:
        context.log.warning("Terminated; the job is %s", wandb.cancel_queued_job(**job).action)
    except Error as error:
        context.log.warning("Terminated, but the job goes on: %s", error)


def _queued_job(record: Any) -> dict[str, Any] | None:
    """The job that a materialization tells of, unless it tells of its end as well."""
    materialization = record.asset_materialization
    if materialization is None or "job" not in materialization.metadata:
        return None
    if materialization.metadata["terminal"].value:
        return None
    job: dict[str, Any] = dict(materialization.metadata["job"].value)
    return {**job, "partition": materialization.partition}


def _end(
    key: dg.AssetKey, job: Mapping[str, Any], metadata: Mapping[str, dg.MetadataValue]
) -> dg.AssetObservation:
    return dg.AssetObservation(asset_key=key, partition=job.get("partition"), metadata=metadata)
