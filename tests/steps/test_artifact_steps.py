"""Artifacts as pipeline steps: a download gives what was logged, and a repetition changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from wandb_ops import NotFoundError, UsageError, steps
from wandb_ops.errors import ChecksumMismatch, VerificationFailed

FILES = {"a.txt": b"first", "deep/b.bin": bytes(range(256)) * 40, "deep/c.txt": b""}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def run(api, project):
    return steps.create_run(api, project=project, run_id="maker").path


@pytest.fixture
def logged(api, run, tmp_path):
    content = write(tmp_path / "data", FILES)
    return steps.log_artifact(
        api, run=run, name="rows", type="dataset", content=content, aliases=["best"], metadata={"rows": 3}
    )


def test_a_folder_goes_in_and_comes_out_the_same(api, project, run, logged, tmp_path):
    assert (logged.path, logged.version, logged.created) == (
        f"{api.default_entity}/{project}/rows:v0", "v0", True,
    )  # fmt: skip
    assert (logged.files, logged.size) == (len(FILES), sum(map(len, FILES.values())))
    assert set(logged.aliases) == {"latest", "best"}
    json.dumps(logged.to_json())
    done = steps.download_artifact(api, artifact=f"{project}/rows:best", to=tmp_path / "out", run=run)
    assert read(tmp_path / "out") == FILES
    assert (done.files, done.bytes, done.deleted) == (logged.files, logged.size, 0)
    assert done.artifact.digest == logged.digest
    json.dumps(done.to_json())
    assert [found.source_name for found in api.run(run).logged_artifacts()] == ["rows:v0"]
    assert [found.source_name for found in api.run(run).used_artifacts()] == ["rows:v0"]


def test_the_same_content_is_the_same_version_whoever_logs_it(api, project, run, logged, tmp_path):
    other = steps.create_run(api, project=project, run_id="other").path
    for maker in (run, other):
        again = steps.log_artifact(
            api, run=maker, name="rows", type="dataset", content=str(tmp_path / "data")
        )
        assert (again.version, again.digest, again.created) == ("v0", logged.digest, False)
    write(tmp_path / "data", {"a.txt": b"second"})
    new = steps.log_artifact(api, run=other, name="rows", type="dataset", content=tmp_path / "data")
    assert (new.version, new.index, new.created) == ("v1", 1, True)
    assert "latest" in new.aliases
    assert steps.artifact_status(api, artifact=f"{project}/rows:best").version == "v0"
    found = steps.list_artifact_versions(api, collection=f"{project}/rows")
    assert [one.version for one in found] == ["v0", "v1"]
    found = steps.list_artifact_versions(api, collection=f"{project}/rows", type="dataset", after=0)
    assert [one.path for one in found] == [new.path]


def test_names_and_references_are_taken_as_given(api, project, run, tmp_path):
    content = {
        "model.bin": str(write(tmp_path, {"x": b"1"}) / "x"),
        "data": str(write(tmp_path / "d", FILES)),
    }
    kept = write(tmp_path / "kept", {"big.bin": b"stays here"}) / "big.bin"
    logged = steps.log_artifact(
        api,
        run=run,
        name="all",
        type="model",
        content=content,
        references={"table": "s3://bucket/table.parquet", "big": kept.as_uri()},
    )
    entries = api.artifact(logged.path).manifest.entries
    assert set(entries) == {"model.bin", "table", "big", *(f"data/{name}" for name in FILES)}
    assert entries["table"].ref == "s3://bucket/table.parquet"
    kept.write_bytes(b"changed")
    again = steps.log_artifact(
        api, run=run, name="all", type="model", references={"big": kept.as_uri()}, content=content
    )
    assert again.version == "v1"


def test_a_task_that_only_logs_needs_no_run_of_its_own_before(api, project, tmp_path):
    content = write(tmp_path / "data", FILES)
    wanted = {"run": f"{project}/uploader", "name": "rows", "type": "dataset", "content": content}
    with pytest.raises(NotFoundError):
        steps.log_artifact(api, **wanted)
    for created in (True, False):
        logged = steps.log_artifact(api, **wanted, make_run=True)
        assert (logged.created, logged.run) == (created, f"{api.default_entity}/{project}/uploader")
        assert api.run(logged.run).state == "finished"


def test_a_run_that_still_goes_on_is_not_ended(api, run, tmp_path):
    """`make_run` ends what it made, and what an earlier try made; a run of a task before is that one's."""
    content = write(tmp_path / "data", FILES)
    steps.log_artifact(api, run=run, name="rows", type="dataset", content=content)
    assert api.run(run).state == "running"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "nothing to log"),
        ({"content": "/no/such/folder"}, "no file or folder"),
        ({"content": __file__, "name": "a/b"}, "name"),
        ({"references": {"x": "no-address"}}, "no address"),
    ],
)
def test_what_cannot_be_logged_is_refused_before_anything_is_sent(api, run, arguments, reason):
    with pytest.raises(UsageError, match=reason):
        steps.log_artifact(api, **{"run": run, "name": "n", "type": "t", **arguments})
    assert list(api.run(run).logged_artifacts()) == []


def test_a_folder_with_other_files_is_refused_kept_or_cleaned(api, project, logged, tmp_path):
    """Yesterday's version in the same folder must not be mixed into today's unseen."""
    out = write(tmp_path / "out", {"deep/yesterday.txt": b"old", "a.txt": b"old"})
    before = read(out)
    wanted = {"artifact": logged.path, "to": out}
    with pytest.raises(VerificationFailed, match=r"yesterday.*folder of its own"):
        steps.download_artifact(api, **wanted)
    assert read(out) == before
    steps.download_artifact(api, **wanted, strangers="keep")
    assert read(out) == {**FILES, "deep/yesterday.txt": b"old"}
    done = steps.download_artifact(api, **wanted, strangers="delete")
    assert (read(out), done.deleted) == (FILES, 1)
    with pytest.raises(UsageError, match="strangers"):
        steps.download_artifact(api, **wanted, strangers="burn")


def test_what_a_killed_download_left_behind_does_not_stop_the_next_one(api, logged, tmp_path):
    """A file that is still being written, by a try that was killed an hour ago or by a neighbour just now."""
    artifact, folder = logged.path, tmp_path / "out"
    folder.mkdir()
    dead, alive = (folder / f".rows.csv.{letter * 16}.part" for letter in "ab")
    dead.write_text("half"), alive.write_text("half")
    os.utime(dead, (0, 0))
    steps.download_artifact(api, artifact=artifact, to=folder)
    assert (dead.exists(), alive.exists()) == (False, True)


def test_files_that_stand_where_folders_have_to_be_are_deleted_first(api, project, run, logged, tmp_path):
    (tmp_path / "file").write_text("one")
    flat = steps.log_artifact(
        api, run=run, name="shape", type="dataset", content={"part": str(tmp_path / "file")}
    )
    deep = steps.log_artifact(
        api, run=run, name="shape", type="dataset", content={"part/of": str(tmp_path / "file")}
    )
    folder = tmp_path / "out"
    for version, name in ((flat, "part"), (deep, "part/of"), (flat, "part")):
        done = steps.download_artifact(api, artifact=version.path, to=folder, strangers="delete")
        assert [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()] == [name]
    assert done.deleted == 1


def test_a_part_of_an_artifact_can_be_had(api, logged, tmp_path):
    done = steps.download_artifact(api, artifact=logged.path, to=tmp_path / "out", path_prefix="deep/")
    assert read(tmp_path / "out") == {name: data for name, data in FILES.items() if name.startswith("deep/")}
    assert done.files == 2


def test_a_file_spoiled_on_the_disk_is_fetched_again(api, logged, tmp_path):
    steps.download_artifact(api, artifact=logged.path, to=tmp_path / "out")
    (tmp_path / "out" / "a.txt").write_bytes(b"FIRST")
    steps.download_artifact(api, artifact=logged.path, to=tmp_path / "out")
    assert read(tmp_path / "out") == FILES


def test_a_reference_whose_content_changed_is_not_taken_for_it(api, run, tmp_path):
    kept = write(tmp_path / "kept", {"big.bin": b"stays here"}) / "big.bin"
    logged = steps.log_artifact(api, run=run, name="r", type="t", references={"big": kept.as_uri()})
    kept.write_bytes(b"another one")
    with pytest.raises(ChecksumMismatch):
        steps.download_artifact(api, artifact=logged.path, to=tmp_path / "out")


def test_a_name_of_another_type_or_of_nothing_is_an_error(api, project, logged, run):
    with pytest.raises(UsageError, match="'dataset', not 'model'"):
        steps.use_artifact(api, artifact=logged.path, run=run, type="model")
    with pytest.raises(NotFoundError):
        steps.use_artifact(api, artifact=f"{project}/rows:never", run=run)
    assert steps.artifact_status(api, artifact=f"{project}/rows:never") is None
    assert steps.artifact_status(api, artifact=f"{project}-none/rows") is None
    assert steps.list_artifact_versions(api, collection=f"{project}/other") == []


def test_use_is_noted_once(api, logged, run):
    for _ in range(2):
        assert steps.use_artifact(api, artifact=logged.path, run=run).run == run
    assert len(list(api.run(run).used_artifacts())) == 1


def test_an_alias_moves_to_the_version_that_is_promoted(api, project, run, logged, tmp_path):
    write(tmp_path / "data", {"a.txt": b"second"})
    new = steps.log_artifact(api, run=run, name="rows", type="dataset", content=tmp_path / "data")
    for _ in range(2):
        promoted = steps.promote_artifact(api, artifact=new.path, aliases=["best", "production"])
        assert set(promoted.aliases) == {"latest", "best", "production"}
    assert steps.artifact_status(api, artifact=f"{project}/rows:best").version == "v1"
    assert steps.artifact_status(api, artifact=f"{project}/rows:v0").aliases == ()
    with pytest.raises(UsageError, match="nothing to do"):
        steps.promote_artifact(api, artifact=new.path)


def test_a_version_is_linked_into_another_collection(api, project, logged):
    for _ in range(2):
        linked = steps.promote_artifact(
            api, artifact=logged.path, to=f"{project}/chosen", aliases=["staging"]
        )
        assert (linked.name, linked.version, linked.digest) == ("chosen", "v0", logged.digest)
        assert "staging" in linked.aliases
    assert steps.artifact_status(api, artifact=f"{project}/chosen:staging").digest == logged.digest
