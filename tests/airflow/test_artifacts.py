"""Artifact operators, the sensor, and the trigger that starts DAGs."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, TaskDeferred
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider.operators.artifacts import (
    WandbDownloadArtifactOperator,
    WandbLogArtifactOperator,
    WandbPromoteArtifactOperator,
    WandbUseArtifactOperator,
)
from airflow_provider.operators.base import own_run_id
from airflow_provider.sensors.artifact import WandbArtifactSensor
from airflow_provider.triggers.artifact import WandbArtifactEventTrigger, WandbArtifactTrigger, pause_after
from wandb_ops import Api, steps

pytestmark = pytest.mark.airflow


@pytest.fixture
def api(server):
    return Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)


@pytest.fixture
def log(api, tmp_path):
    """Logs a version of p/model with this content."""
    run = steps.create_run(api, project="p", run_id="maker").path

    def write(text, **options):
        (tmp_path / "model.bin").write_text(text)
        return steps.log_artifact(
            api, run=run, name="model", type="model", content=tmp_path / "model.bin", **options
        )

    return write


def test_a_folder_is_logged_once_under_a_run_of_the_tasks_own(server, api, make_context, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    logging = dict(
        task_id="log", name="rows", artifact_type="dataset", content=tmp_path, project="p", aliases=["new"]
    )
    context = make_context("log")
    first = WandbLogArtifactOperator(**logging).execute(context)
    again = WandbLogArtifactOperator(**logging).execute(make_context("log"))
    assert (first["version"], first["created"], again["created"]) == ("v0", True, False)
    assert first["path"] == again["path"] == f"{server.entity}/p/rows:v0"
    assert context["ti"].pushed["artifact_path"] == first["path"]
    assert context["ti"].pushed["wandb_artifact_url"] == first["url"]
    run = api.run(f"p/{own_run_id(context)}")
    assert (run.state, [one.source_name for one in run.logged_artifacts()]) == ("finished", ["rows:v0"])
    with pytest.raises(AirflowFailException, match="no project"):
        WandbLogArtifactOperator(task_id="log", name="x", artifact_type="t", content=tmp_path).execute(
            context
        )


def test_a_version_is_downloaded_used_and_promoted(api, log, make_context, tmp_path):
    log("first")
    new = log("second")
    used = WandbUseArtifactOperator(task_id="use", artifact="p/model", run="p/maker").execute(make_context())
    assert used["path"] == new.path
    done = WandbDownloadArtifactOperator(
        task_id="get", artifact="p/model:v0", to=tmp_path / "out", run="p/maker"
    ).execute(make_context())
    assert (tmp_path / "out" / "model.bin").read_text() == "first"
    assert (done["files"], done["artifact"]["version"]) == (1, "v0")
    get = dict(task_id="get", artifact="p/model:v1", to=tmp_path / "out")
    (tmp_path / "out" / "other.bin").write_text("yesterday's")
    with pytest.raises(AirflowFailException, match=r"other\.bin"):
        WandbDownloadArtifactOperator(**get).execute(make_context())
    WandbDownloadArtifactOperator(**get, strangers="delete").execute(make_context())
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["second"]
    promoted = WandbPromoteArtifactOperator(
        task_id="up", artifact="p/model:v0", aliases=["production"]
    ).execute(make_context())
    assert "production" in promoted["aliases"]
    assert steps.artifact_status(api, artifact="p/model:production").version == "v0"
    assert sorted(one.source_name for one in api.run("p/maker").used_artifacts()) == ["model:v0", "model:v1"]


def test_the_sensor_waits_for_an_alias_or_for_another_version(api, log, make_context):
    with pytest.raises(AirflowSensorTimeout):
        WandbArtifactSensor(
            task_id="wait", artifact="p/model", deferrable=False, poke_interval=0.01, timeout=0.03
        ).execute(make_context())
    first = log("first")
    context = make_context()
    found = WandbArtifactSensor(task_id="wait", artifact="p/model", artifact_type="model").execute(context)
    assert found["path"] == first.path
    assert context["ti"].pushed["wandb_artifact_url"] == first.url
    waiting = dict(task_id="wait", artifact="p/model", other_than="v0", deferrable=True, timeout=60)
    with pytest.raises(TaskDeferred) as deferred:
        WandbArtifactSensor(**waiting).execute(make_context())
    path, arguments = deferred.value.trigger.serialize()
    assert path == "airflow_provider.triggers.artifact.WandbArtifactTrigger"
    assert WandbArtifactTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)
    second = log("second")
    assert WandbArtifactSensor(**waiting).execute(make_context())["path"] == second.path
    with pytest.raises(AirflowFailException, match="'model', not 'dataset'"):
        WandbArtifactSensor(task_id="wait", artifact="p/model", artifact_type="dataset").execute(
            make_context()
        )


def events(trigger, count, between=()):
    """The first events of a trigger; `between` happens before each."""

    async def collect():
        found, happenings = [], iter(between)
        stream = trigger.run()
        while len(found) < count:
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.05)  # the first look tells what was there before
            happening = next(happenings, None)
            if happening is not None:
                await asyncio.to_thread(happening)
            found.append(await asyncio.wait_for(waiting, 20))
        going_on = asyncio.ensure_future(anext(stream))  # what was told is kept when the next is asked for
        await asyncio.sleep(0.05)
        going_on.cancel()
        return [json.loads(json.dumps(event.payload, allow_nan=False)) for event in found]

    return asyncio.run(collect())


class Kept:
    """Airflow's asset state (3.3 and newer)."""

    def __init__(self):
        self.values = {}

    async def aget(self, key, default=None):
        return self.values.get(key, default)

    async def aset(self, key, value):
        self.values[key] = value


@pytest.fixture
def trigger(server):
    def make(kept=None):
        made = WandbArtifactEventTrigger(collection="p/model", artifact_type="model", poll_interval=0.02)
        made.asset_state_store = kept
        return made

    return make


def test_the_event_trigger_tells_of_what_comes_after_its_first_start(log, trigger):
    log("old")
    told = events(trigger(), 2, [lambda: log("new"), lambda: log("newer")])
    assert [one["version"] for one in told] == ["v1", "v2"]


def test_versions_that_came_while_no_triggerer_ran_are_told_afterwards(log, trigger):
    log("old")
    kept = Kept()
    events(trigger(kept), 1, [lambda: log("told")])
    log("missed"), log("missed, too")
    assert [one["version"] for one in events(trigger(kept), 2)] == ["v2", "v3"]


def test_the_event_trigger_lives_through_a_server_that_is_down(log, trigger, server, connection):
    """It has nobody to fail to; it looks again, less often."""
    log("old")
    kept = Kept()
    events(trigger(kept), 1, [lambda: log("told")])
    log("missed")
    connection(password=server.api_key, host="http://127.0.0.1:9", extra={"timeout": 0.01, "entity": "e"})

    def repair():
        time.sleep(0.03)
        connection(password=server.api_key, host=server.url, extra={"entity": server.entity})

    assert [one["version"] for one in events(trigger(kept), 1, [repair])] == ["v2"]


def test_the_event_trigger_lives_through_a_state_that_cannot_be_read(log, trigger):
    """As when Airflow's own server restarts, or when two assets share the trigger."""

    class Broken(Kept):
        async def aget(self, key, default=None):
            raise ValueError("Task has 2 concrete inlets and outlets")

        aset = aget

    log("old")
    assert [one["version"] for one in events(trigger(Broken()), 1, [lambda: log("new")])] == ["v1"]


def test_the_pause_after_failures_is_bounded_however_many_there_are():
    assert pause_after(60.0, 1) == 120.0
    assert pause_after(60.0, 5000) == pause_after(60.0, 20) == 600.0
    assert pause_after(3600.0, 2) == 3600.0


def test_the_event_trigger_can_be_made_again_elsewhere(trigger):
    path, arguments = trigger().serialize()
    assert path == "airflow_provider.triggers.artifact.WandbArtifactEventTrigger"
    assert WandbArtifactEventTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)
    asset = Asset(name="models", watchers=[AssetWatcher(name="new", trigger=trigger())])
    assert asset.watchers[0].trigger is not None


@pytest.mark.slow
def test_an_assets_event_says_which_version_came_of_the_task(server, run_dag, tmp_path):
    """The DAGs that the asset starts find the version in the event."""
    (tmp_path / "rows.csv").write_text("a\n1\n")
    rows = Asset(name="rows-of-p")
    with DAG("producing", schedule=None) as dag:
        logged = WandbLogArtifactOperator(
            task_id="log",
            name="rows",
            artifact_type="dataset",
            content=str(tmp_path),
            project="p",
            outlets=[rows],
        )

        @task(inlets=[rows])
        def told(inlet_events=None):
            return inlet_events[rows][-1].extra

        logged >> told()
    outcome = run_dag(dag)
    assert set(outcome.states.values()) == {"success"}
    extra = outcome.xcoms["told", "return_value"]
    assert (extra["path"], extra["created"]) == (f"{server.entity}/p/rows:v0", True)
    assert "aliases" not in extra
