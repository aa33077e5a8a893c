"""export, plan, verify, snapshot and lake on the command line, against the embedded server."""

from __future__ import annotations

import json
import uuid

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable

import wandb_ops
from wandb_ops import steps
from wandb_ops.cli.main import cli


@pytest.fixture
def project(wandb_server_session, monkeypatch):
    """A project of two finished runs."""
    for name, value in wandb_server_session.env.items():
        monkeypatch.setenv(name, value)
    api, name = wandb_ops.Api(), f"export-{uuid.uuid4().hex[:8]}"
    for run, rows in (("a", 5), ("b", 3)):
        made = steps.create_run(api, project=name, run_id=run, config={"lr": 0.1})
        steps.log_metrics(
            api,
            run=made.path,
            rows=[{"loss": rows - n, "_timestamp": 1.0 * n} for n in range(rows)],
            first_line=0,
        )
        steps.finish_run(api, run=made.path, summary={"loss": float(rows)})
    return f"{wandb_server_session.entity}/{name}"


def call(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def shown(*arguments):
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_three_parts_name_a_run_and_two_a_project(project, tmp_path):
    one = shown("export", f"{project}/a", tmp_path / "a.parquet")
    assert (one["rows"], one["action"]) == (5, "written")
    many = shown("export", project, tmp_path / "all")
    assert (many["runs"], many["written"], many["rows"]) == (2, 2, 8)
    assert pq.read_table(tmp_path / "all" / "history" / "b.parquet").num_rows == 3
    again = call("export", project, tmp_path / "all")
    assert again.exit_code == 0
    assert "0 parts written, 2 unchanged" in again.output


def test_a_plan_is_dealt_out_and_each_shard_exported(project, tmp_path):
    plan = shown("plan", project, tmp_path, "--shards", 2)
    assert (plan["changed"], plan["rows"], len(plan["shards"])) == (2, 8, 2)
    for shard in plan["shards"]:
        assert shown("export", project, tmp_path, "--shard", json.dumps(shard))["written"] == 1
    assert "0 to fetch, of 2" in call("plan", project, tmp_path).output


def test_a_lake_is_exported_verified_and_looked_after(project, tmp_path):
    assert shown("export", project, tmp_path, "--format", "delta")["rows"] == 8
    found = shown("verify", project, tmp_path, "--format", "delta")
    assert (found["ok"], found["current"], found["rows"]) == (True, True, 8)
    assert shown("lake", "optimize", tmp_path)["history"] == {"files_added": 0, "files_removed": 0}
    assert call("lake", "optimize", tmp_path).exit_code == 0
    assert shown("lake", "vacuum", tmp_path, "--dry-run") == {"runs": [], "history": []}
    assert call("lake", "vacuum", tmp_path).exit_code == 0


def test_verify_says_what_is_wrong_by_its_exit_code(project, tmp_path):
    call("export", project, tmp_path)
    assert "yes" in call("verify", project, tmp_path).output
    steps.create_run(wandb_ops.Api(), project=project.partition("/")[2], run_id="new")
    result = call("verify", project, tmp_path)
    assert result.exit_code == 75
    assert "new" in result.output
    (tmp_path / "history" / "a.parquet").write_bytes(b"PAR1 broken")
    assert call("verify", project, tmp_path).exit_code == 1


def test_a_run_that_cannot_be_taken_is_shown_and_the_exit_code_says_whether_to_retry(
    project, tmp_path, wandb_server_session
):
    with wandb_server_session.service.store.writing() as connection:
        connection.execute(
            "UPDATE runs SET history_lines = 9 WHERE name = 'a' AND project IN"
            " (SELECT id FROM projects WHERE name = ?)",
            (project.partition("/")[2],),
        )
    result = call("export", project, tmp_path)
    assert result.exit_code == 75
    assert "IncompleteHistory" in result.output
    assert "1 parts of runs were not taken" in result.stderr
    assert json.loads(call("export", project, tmp_path, "--json").stdout)["not_taken"][0]["run_id"] == "a"


def test_what_is_for_projects_is_refused_for_a_run(project, tmp_path):
    for option in (["--filters", "{}x"], ["--shard", "{}"], ["--include", "system"]):
        assert call("export", f"{project}/a", tmp_path / "a.parquet", *option).exit_code == 2


def test_a_snapshot_goes_to_a_lake_with_a_page(project, tmp_path):
    arguments = ("snapshot", project, tmp_path / "lake", "--min", "loss", "--format", "delta")
    first = shown(*arguments, "--at", "2026-11-20T08:00:00Z", "--report", tmp_path / "page.html")
    assert first["report"] == str(tmp_path / "page.html")
    assert first["best"][0]["run_id"] == "b"
    second = shown(*arguments, "--at", "2026-11-21T08:00:00Z")
    assert second["previous"].endswith("at 2026-11-20T08:00:00Z")
    assert "table" in call(*arguments).output
    table = DeltaTable(str(tmp_path / "lake" / "snapshots")).to_pyarrow_table()
    assert table.num_rows == 6
    assert b"<html" in (tmp_path / "page.html").read_bytes()


def test_one_run_goes_to_a_lake(project, tmp_path):
    one = shown("export", f"{project}/a", tmp_path, "--format", "delta")
    assert (one["action"], one["rows"], one["uri"]) == ("written", 5, str(tmp_path / "history"))
    said = call("export", f"{project}/a", tmp_path, "--format", "delta")
    assert (said.exit_code, "unchanged" in said.output, "table" in said.output) == (0, True, True)


def test_options_of_the_store_come_from_a_file_that_is_never_shown(project, tmp_path):
    options = tmp_path / "options.json"
    options.write_text('{"key": "markeraccess01", "secret": "markersecret0123"}')
    # The memory store knows no keys: that they arrive is what its refusal shows.
    result = call("export", project, tmp_path / "to", "--storage-options", options)
    assert result.exit_code == 0
    options.write_text('"markersecret0123"')
    result = call("plan", project, tmp_path / "to", "--storage-options", options)
    assert (result.exit_code, "holds no JSON object" in result.output) == (2, True)
    assert "markersecret" not in result.output


def test_a_snapshot_shows_last_values_means_and_what_changed_most(project, tmp_path):
    options = ["--min", "loss", "--mean", "loss", "--last", "loss"]
    first = shown("snapshot", project, tmp_path, *options, "--at", "2026-11-20T07:00:00Z")
    assert [(one["goal"], one["runs"], one["changed"]) for one in first["changes"]] == [
        ("min", 2, 0),
        ("last", 2, 0),
        ("mean", 2, 0),
    ]
    said = call("snapshot", project, tmp_path, *options, "--at", "2026-11-21T07:00:00Z")
    assert said.exit_code == 0
    assert "changed most" in said.output
