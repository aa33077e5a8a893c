"""Artifacts on the command line: what was uploaded comes back, and repeating a command changes nothing."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import wandb_ops
from wandb_ops import steps
from wandb_ops.cli.main import cli


@pytest.fixture
def folder(tmp_path):
    """Two files, one of them in a sub-folder."""
    (tmp_path / "model" / "layers").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text('{"layers": 1}')
    (tmp_path / "model" / "layers" / "0.bin").write_bytes(bytes(range(256)))
    return tmp_path / "model"


def call(*arguments, text=None):
    return CliRunner().invoke(cli, ["artifact", *map(str, arguments)], input=text)


def said(*arguments, text=None):
    result = call(*arguments, "--json", text=text)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_uploaded_twice_is_one_version_and_comes_back_as_it_was(project, folder, tmp_path):
    upload = ("upload", "model", folder, "--type", "model", "--alias", "best", "--tag", "nightly")
    first = said(*upload, "--metadata", "-", text='{"lr": 0.1}')
    again = said(*upload)
    assert (first["version"], first["created"], again["created"]) == ("v0", True, False)
    assert (first["digest"], first["run"]) == (again["digest"], again["run"])
    assert set(first["aliases"]) == {"best", "latest"}
    found = wandb_ops.Api().artifact(first["path"])
    assert (found.metadata, list(found.tags)) == ({"lr": 0.1}, ["nightly"])
    (run,) = wandb_ops.Api().runs(project)
    assert ("/".join(run.path), run.state) == (first["run"], "finished")
    done = said("download", "model:best", tmp_path / "out")
    assert (done["files"], done["artifact"]["path"]) == (2, first["path"])
    assert contents(tmp_path / "out") == contents(folder)


def test_several_files_are_stored_under_their_own_names_and_references_beside_them(project, folder, tmp_path):
    one = folder / "config.json"
    made = said(
        "upload", "mixed", one, folder / "layers", "--type", "d", "--reference", "raw=s3://bucket/a=b"
    )
    entries = wandb_ops.Api().artifact(made["path"]).manifest.entries
    assert set(entries) == {"config.json", "layers/0.bin", "raw"}
    assert entries["raw"].ref == "s3://bucket/a=b"
    (tmp_path / "config.json").write_text("another")
    clash = call("upload", "mixed", one, tmp_path / "config.json", "--type", "d")
    assert (clash.exit_code, "same name" in clash.output) == (2, True)


def test_files_that_do_not_belong_there_are_kept_refused_or_deleted_as_told(project, folder, tmp_path):
    said("upload", "model", folder, "--type", "model")
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.bin").write_bytes(b"old")
    refused = call("download", "model", target)
    assert refused.exit_code != 0
    assert "old.bin" in refused.output
    assert set(contents(target)) == {"old.bin"}
    said("download", "model", target, "--strangers", "keep", "--prefix", "layers/")
    assert set(contents(target)) == {"old.bin", "layers/0.bin"}
    shown = call("download", "model", target, "--strangers", "delete")
    assert contents(target) == contents(folder)
    assert "deleted" in shown.output


def test_versions_are_listed_oldest_first_and_an_alias_moves(project, folder):
    for number in range(3):
        (folder / "config.json").write_text(str(number))
        said("upload", "model", folder, "--type", "model")
    listed = said("versions", "model")
    assert [one["version"] for one in listed] == ["v0", "v1", "v2"]
    assert [one["version"] for one in said("versions", "model", "--after", 0, "--limit", 1)] == ["v1"]
    said("promote", "model:v0", "--alias", "production")
    said("promote", "model:v1", "--alias", "production")
    assert said("show", "model:production")["version"] == "v1"
    linked = said("promote", "model:v1", "--to", f"{project}/approved", "--alias", "ready")
    assert linked["name"] == "approved"
    people = call("versions", "model")
    assert "production" in people.output
    assert "no versions" in call("versions", "none-such").output


def test_a_use_is_noted_with_the_run(project, folder):
    made = said("upload", "model", folder, "--type", "model")
    user = steps.create_run(wandb_ops.Api(), project=project, run_id="user").path
    assert said("use", "model", user, "--as", "base")["run"] == user
    (used,) = wandb_ops.Api().run(user).used_artifacts()
    assert used.qualified_name == made["path"]
    assert user in call("use", "model:v0", user).output


def test_an_upload_may_belong_to_a_run_that_made_the_content(project, folder):
    maker = steps.create_run(wandb_ops.Api(), project=project, run_id="maker").path
    assert said("upload", "model", folder, "--type", "model", "--run", maker)["run"] == maker
    assert [run.id for run in wandb_ops.Api().runs(project)] == ["maker"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "none-such:v0"), 4, "no such version"),
        (("download", "none-such", "out"), 4, "NotFoundError"),
        (("upload", "a", "--type", "t"), 2, "nothing to log"),
        (("upload", "a", "no/such/file", "--type", "t"), 2, "no/such/file"),
        (("upload", "a", "--type", "t", "--reference", "raw"), 2, "NAME=URL"),
        (("upload", "a", "--type", "t", "--run", "e/p/r", "--project", "p"), 2, "leave out"),
        (("promote", "a:v0"), 2, "nothing to do"),
    ],
)
def test_what_goes_wrong_has_an_exit_code_and_says_why(
    project, tmp_path, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_an_upload_without_a_project_says_which_option_is_missing(project, folder, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT")
    result = call("upload", "model", folder, "--type", "model")
    assert (result.exit_code, "--project" in result.output) == (2, True)
