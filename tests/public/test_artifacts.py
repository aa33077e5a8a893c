"""Artifacts without the SDK: building, storing, getting back, editing. The oracle is what is written here."""

from __future__ import annotations

import base64
import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import wandb_ops
from wandb_ops import Api, Artifact
from wandb_ops.errors import (
    ChecksumMismatch,
    DataError,
    EntryNotFound,
    GraphQLError,
    NotFoundError,
    UnsafePath,
    UsageError,
    VerificationFailed,
)
from wandb_ops.protocol import artifacts as protocol
from wandb_ops.public.runs.run import Run

FILES = {"a.txt": b"alpha\n", "sub/b.bin": bytes(range(256)), "empty": b"", "ü/ä ö.txt": b"umlauts"}


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def content(folder: Path | str) -> dict[str, bytes]:
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture
def run(api: Api, project: str) -> Run:
    return api.create_run(run_id="maker", project=project)


@pytest.fixture
def made(tmp_path: Path) -> Artifact:
    artifact = Artifact("ds", type="dataset", description="first", metadata={"rows": 3})
    artifact.add_dir(written(tmp_path / "source", FILES))
    return artifact


# -- building ----------------------------------------------------------------------------------------------


def test_an_artifact_knows_its_digest_before_anything_is_sent(made: Artifact, sent: list[str]) -> None:
    lines = "".join(f"{name}:{md5(data)}\n" for name, data in sorted(FILES.items()))
    assert made.digest == hashlib.md5(b"wandb-artifact-manifest-v1\n" + lines.encode()).hexdigest()
    assert made.size == sum(map(len, FILES.values()))
    assert (made.state, made.is_draft(), made.id, made.name) == ("PENDING", True, None, "ds")
    assert sorted(made.manifest.entries) == sorted(FILES)
    assert sent == []


def test_files_bytes_folders_and_written_files_are_added(tmp_path: Path) -> None:
    source = written(tmp_path, {"one.txt": b"1", "d/two.txt": b"2"})
    artifact = Artifact("x", type="t")
    artifact.add_file(source / "one.txt")
    artifact.add_file(str(source / "one.txt"), name="other/name.txt")
    artifact.add_dir(source / "d", name="below")
    artifact.add_bytes(b"3", "three.bin")
    with artifact.new_file("four.txt") as handle:
        handle.write("ünï")
    with artifact.new_file("five.bin", mode="wb") as handle:
        handle.write(b"\x00")
    found = {path: entry.digest for path, entry in artifact.manifest.entries.items()}
    assert found == {
        "one.txt": md5(b"1"),
        "other/name.txt": md5(b"1"),
        "below/two.txt": md5(b"2"),
        "three.bin": md5(b"3"),
        "four.txt": md5("ünï".encode()),
        "five.bin": md5(b"\x00"),
    }
    artifact.remove("below")
    artifact.remove(artifact.get_entry("three.bin"))
    assert sorted(artifact.manifest.entries) == ["five.bin", "four.txt", "one.txt", "other/name.txt"]


def test_another_content_under_a_known_name_needs_overwrite(tmp_path: Path) -> None:
    artifact = Artifact("x", type="t")
    artifact.add_bytes(b"1", "a")
    artifact.add_bytes(b"1", "a")
    with pytest.raises(UsageError, match="another file 'a'"):
        artifact.add_bytes(b"2", "a")
    artifact.add_bytes(b"2", "a", overwrite=True)
    assert artifact.get_entry("a").digest == md5(b"2")
    with pytest.raises(UsageError, match="no file"):
        artifact.add_file(tmp_path / "missing")
    with pytest.raises(UsageError, match="no folder"):
        artifact.add_dir(tmp_path / "missing")
    with pytest.raises(UsageError, match="no 'b'"):
        artifact.remove("b")


@pytest.mark.parametrize("name", ["../up", "/root", "a/../../b", "a\\b", "nul", "a\x00b"])
def test_names_that_are_not_safe_everywhere_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        Artifact("x", type="t").add_bytes(b"1", name)


@pytest.mark.parametrize(
    ("name", "kind", "metadata"),
    [
        ("a/b", "t", None),
        ("a:v1", "t", None),
        ("", "t", None),
        ("a", "", None),
        ("a", "wandb-x", None),
        ("a", "t", {"x": object()}),
    ],
)
def test_wrong_names_and_metadata_are_refused_at_once(name: str, kind: str, metadata: Any) -> None:
    with pytest.raises(UsageError):
        Artifact(name, type=kind, metadata=metadata)


def test_what_needs_a_logged_artifact_says_so(made: Artifact) -> None:
    for use in (
        made.save,
        made.wait,
        made.used_by,
        made.download,
        lambda: made.version,
        lambda: made.aliases,
    ):
        with pytest.raises(UsageError, match="not logged yet"):
            use()


# -- storing and getting back ------------------------------------------------------------------------------


def test_what_was_logged_comes_back_to_the_last_byte(
    run: Run, made: Artifact, api: Api, project: str, tmp_path: Path
) -> None:
    digest = made.digest
    logged = run.log_artifact(made, aliases=["best"], tags=["blue"])
    assert logged is made
    assert (logged.name, logged.version, logged.state) == ("ds:v0", "v0", "COMMITTED")
    assert (logged.aliases, logged.tags) == (["best", "latest"], ["blue"])
    assert (logged.digest, logged.size, logged.file_count) == (digest, sum(map(len, FILES.values())), 4)
    found = api.artifact(f"{project}/ds:best", type="dataset")
    assert (found.id, found.metadata, found.description) == (logged.id, {"rows": 3}, "first")
    assert found.qualified_name == f"{run.entity}/{project}/ds:best"
    assert found.wait() is found
    assert content(found.download(root=tmp_path / "down")) == FILES
    found.verify(root=str(tmp_path / "down"))
    assert found.manifest.digest() == digest


def test_logging_again_stores_nothing_again(
    run: Run, made: Artifact, tmp_path: Path, sent: list[str]
) -> None:
    first = run.log_artifact(made).id
    sent.clear()
    again = Artifact("ds", type="dataset")
    again.add_dir(tmp_path / "source")
    assert run.log_artifact(again, aliases=["again"]).id == first
    assert sent == ["CreateArtifact", "ArtifactByID"]
    assert again.aliases == ["latest", "again"]
    changed = Artifact("ds", type="dataset")
    changed.add_dir(tmp_path / "source")
    changed.add_bytes(b"more", "more")
    assert run.log_artifact(changed).name == "ds:v1"
    assert [artifact.name for artifact in run.logged_artifacts()] == ["ds:v0", "ds:v1"]
    assert len(run.logged_artifacts()) == 2


def test_a_task_that_was_killed_finishes_what_it_began(
    run: Run, made: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(protocol, "_commit", killed)
        with pytest.raises(KeyboardInterrupt):
            run.log_artifact(made)
    assert len(run.logged_artifacts()) == 0
    again = Artifact("ds", type="dataset", description="first", metadata={"rows": 3})
    again.add_dir(tmp_path / "source")
    assert run.log_artifact(again).name == "ds:v0"
    assert content(again.download(root=tmp_path / "down")) == FILES


def test_large_files_go_in_parts(run: Run, api: Api, project: str, tmp_path: Path) -> None:
    data = os.urandom(1_050_000)
    artifact = Artifact("big", type="dataset")
    artifact.add_bytes(data, "big.bin")
    artifact.add_bytes(b"small", "small.bin")
    path = written(tmp_path / "source", {"also.bin": data[::-1]}) / "also.bin"
    artifact.add_file(path)
    version = replace(artifact._new_version(run, [], [], 1_000_000), part_size=100_000)
    stored = protocol.store(run._transport, version)
    assert not stored.existed
    assert run._transport.counts["CompleteMultipartUploadArtifact"] == 2  # type: ignore[attr-defined]
    found = api.artifact(f"{project}/big:v0")
    assert content(found.download(root=tmp_path / "down")) == {
        "big.bin": data,
        "small.bin": b"small",
        "also.bin": data[::-1],
    }


def test_a_file_that_changed_after_it_was_added_is_refused(run: Run, tmp_path: Path, sent: list[str]) -> None:
    path = written(tmp_path, {"a": b"before"}) / "a"
    artifact = Artifact("x", type="t")
    artifact.add_file(path)
    path.write_bytes(b"afterwards")
    sent.clear()
    with pytest.raises(DataError, match="changed after it was added"):
        run.log_artifact(artifact)
    assert sent == []


def test_a_draft_of_a_version_sends_only_what_is_new(
    run: Run, made: Artifact, tmp_path: Path, sent: list[str]
) -> None:
    draft = run.log_artifact(made).new_draft()
    draft.remove("sub")
    draft.add_bytes(b"2", "two")
    logged = run.log_artifact(draft)
    assert logged.name == "ds:v1"
    expected = {name: data for name, data in FILES.items() if not name.startswith("sub/")} | {"two": b"2"}
    assert content(logged.download(root=tmp_path / "down")) == expected
    assert logged.metadata == {"rows": 3}
    with pytest.raises(UsageError, match="cannot change"):
        logged.add_bytes(b"3", "three")


def test_references_are_followed_or_said_to_lead_nowhere(
    run: Run, made: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "source"
    logged = run.log_artifact(made)
    artifact = Artifact("refs", type="dataset")
    artifact.add_reference(f"file://{source}/a.txt", name="local.txt")
    artifact.add_reference(f"file://{source}/sub", name="folder")
    artifact.add_reference(logged.get_entry("a.txt"), name="elsewhere.txt")
    artifact.add_reference("ftp://host.invalid/key")
    refs = run.log_artifact(artifact)
    with pytest.raises(UsageError, match="ftp://"):
        refs.download(root=tmp_path / "no")
    down = refs.download(root=tmp_path / "down", allow_missing_references=True)
    assert content(down) == {
        "local.txt": b"alpha\n",
        "folder/b.bin": FILES["sub/b.bin"],
        "elsewhere.txt": b"alpha\n",
    }
    assert "ftp://" in caplog.text
    assert refs.get_entry("key").ref_target() == "ftp://host.invalid/key"
    assert refs.get_entry("elsewhere.txt").ref_target() == logged.get_entry("a.txt").ref_url()
    (source / "a.txt").write_bytes(b"changed")
    with pytest.raises(ChecksumMismatch, match="not what it was"):
        refs.get_entry("local.txt").download(root=str(tmp_path / "again"))


@pytest.mark.parametrize("folder", ["plain", "a b%20c#d"])
def test_files_with_signs_of_addresses_in_their_names_are_found_by_their_references(
    run: Run, tmp_path: Path, folder: str
) -> None:
    source = tmp_path / folder
    source.mkdir()
    names = ["a#b", "a?b", "a%20b", "a b", "ü"]
    for name in names:
        (source / name).write_text(name)
    artifact = Artifact("odd", type="dataset")
    artifact.add_reference(source.as_uri(), name="all")
    artifact.add_reference((source / "a%20b").as_uri(), name="one")
    down = run.log_artifact(artifact).download(root=tmp_path / "down")
    assert content(down) == {f"all/{name}": name.encode() for name in names} | {"one": b"a%20b"}


# -- downloads ---------------------------------------------------------------------------------------------


def test_a_download_fetches_only_what_is_missing_or_wrong(
    run: Run, made: Artifact, tmp_path: Path, sent: list[str]
) -> None:
    logged = run.log_artifact(made)
    down = tmp_path / "down"
    logged.download(root=down)
    (down / "a.txt").write_bytes(b"ALPHA\n")
    (down / "empty").unlink()
    kept = (down / "sub" / "b.bin").stat().st_mtime_ns
    logged.download(root=down)
    assert content(down) == FILES
    assert (down / "sub" / "b.bin").stat().st_mtime_ns == kept
    sent.clear()
    logged.download(root=down)
    assert sent == []


def test_part_of_an_artifact_and_single_files_are_downloaded(
    run: Run, made: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = run.log_artifact(made)
    assert content(logged.download(root=tmp_path / "part", path_prefix="sub/")) == {
        "sub/b.bin": FILES["sub/b.bin"]
    }
    saved = logged.get_entry("a.txt").download(root=str(tmp_path / "one"))
    assert saved == str(tmp_path / "one" / "a.txt")
    monkeypatch.chdir(tmp_path)
    assert logged.download() == "artifacts/ds:v0"
    assert content(tmp_path / "artifacts" / "ds:v0") == FILES
    with pytest.raises(UsageError, match="4 files, not one"):
        logged.file()
    with pytest.raises(EntryNotFound, match="no file 'nothing'"):
        logged.get_entry("nothing")
    with pytest.raises(KeyError):
        logged.get_path("nothing")


def test_no_name_in_a_manifest_leads_out_of_the_folder(run: Run, made: Artifact, tmp_path: Path) -> None:
    logged = run.log_artifact(made)
    entries = logged._entries()
    entries["../outside"] = replace(entries["a.txt"], path="../outside")
    with pytest.raises(UnsafePath):
        logged.download(root=tmp_path / "down")
    assert content(tmp_path / "down") == {}
    assert not (tmp_path / "outside").exists()


def test_a_file_that_is_not_what_the_manifest_says_is_not_kept(
    run: Run, made: Artifact, tmp_path: Path, api: Api, project: str
) -> None:
    run.log_artifact(made)
    found = api.artifact(f"{project}/ds:v0")
    entries = found._entries()
    entries["a.txt"] = replace(entries["a.txt"], size=5)
    with pytest.raises(ChecksumMismatch):
        found.get_entry("a.txt").download(root=str(tmp_path / "down"))
    assert content(tmp_path / "down") == {}


def test_verify_and_checkout_notice_every_difference(run: Run, made: Artifact, tmp_path: Path) -> None:
    logged = run.log_artifact(made)
    down = Path(logged.download(root=tmp_path / "down"))
    for spoil, message in (
        (lambda: (down / "stranger").write_bytes(b"x"), "does not belong"),
        (lambda: (down / "a.txt").write_bytes(b"ALPHA\n"), "not what was logged"),
        ((down / "sub" / "b.bin").unlink, "missing"),
    ):
        spoil()
        with pytest.raises(VerificationFailed, match=message) as caught:
            logged.verify(root=str(down))
        assert isinstance(caught.value, ValueError)
        logged.checkout(root=str(down))
        logged.verify(root=str(down))
    assert content(down) == FILES


def test_files_are_listed_page_by_page(run: Run, made: Artifact, tmp_path: Path) -> None:
    logged = run.log_artifact(made)
    files = logged.files(per_page=3)
    assert {file.name: (file.size, file.md5) for file in files} == {
        name: (len(data), md5(data)) for name, data in FILES.items()
    }
    assert len(files) == 4
    assert [file.name for file in logged.files(names=["empty", "a.txt"])] == ["a.txt", "empty"]
    with logged.files(names=["a.txt"])[0].download(root=str(tmp_path / "f")) as handle:
        assert handle.read() == "alpha\n"


# -- finding and changing ----------------------------------------------------------------------------------


def test_what_does_not_exist_is_said_so(run: Run, made: Artifact, api: Api, project: str) -> None:
    run.log_artifact(made)
    for missing in (f"{project}/ds:v9", f"{project}/ds:nobody", f"{project}/other:v0", "no-project/ds:v0"):
        with pytest.raises(NotFoundError):
            api.artifact(missing)
        assert not api.artifact_exists(missing)
    with pytest.raises(UsageError, match="type 'dataset'"):
        api.artifact(f"{project}/ds:v0", type="model")
    assert api.artifact_exists(f"{project}/ds:v0")
    assert api.artifact_exists(f"{project}/ds")
    assert not api.artifact_exists(f"{project}/ds:v0", type="model")
    for wrong in ("", "a/b/c/d:v0", "a//b", "ds:"):
        with pytest.raises(UsageError):
            api.artifact(wrong)
    with pytest.raises(NotFoundError):
        list(api.artifacts("model", f"{project}/ds"))
    with pytest.raises(NotFoundError):
        api.artifact_type("nothing", project=project)


def test_types_collections_and_versions_are_listed(run: Run, api: Api, project: str) -> None:
    for number in range(3):
        artifact = Artifact("one", type="dataset")
        artifact.add_bytes(str(number).encode(), "n")
        run.log_artifact(artifact, tags=["even"] if number % 2 == 0 else [], aliases=[f"n{number}"])
    other = Artifact("two", type="model")
    run.log_artifact(other)
    assert [each.name for each in api.artifact_types(project)] == ["dataset", "model"]
    assert [each.name for each in api.artifact_type("model", project=project).collections()] == ["two"]
    collections = api.artifact_collections(project, "dataset", per_page=1)
    assert [(each.name, each.type) for each in collections] == [("one", "dataset")]
    versions = api.artifacts("dataset", f"{project}/one", per_page=2)
    assert [each.name for each in versions] == ["one:v2", "one:v1", "one:v0"]
    assert len(versions) == 3
    assert sorted(versions[0].aliases) == ["latest", "n2"]
    assert [each.name for each in api.artifacts("dataset", f"{project}/one", tags=["even"])] == [
        "one:v2",
        "one:v0",
    ]
    oldest = api.artifacts("dataset", f"{project}/one", order="+createdAt")
    assert [each.version for each in oldest] == ["v0", "v1", "v2"]
    assert api.artifact_collection_exists(f"{project}/one", "dataset")
    assert not api.artifact_collection_exists(f"{project}/one", "model")
    with pytest.warns(DeprecationWarning, match="artifact_versions"):
        assert len(api.artifact_versions("dataset", f"{project}/one")) == 3
    collection = api.artifact_collection("dataset", f"{project}/one")
    assert sorted(collection.aliases) == ["latest", "n0", "n1", "n2"]
    assert [each.version for each in collection.artifacts(per_page=1)] == ["v2", "v1", "v0"]


def test_an_edit_saves_what_was_changed_and_nothing_else(
    run: Run, made: Artifact, api: Api, project: str, sent: list[str]
) -> None:
    run.log_artifact(made, aliases=["best"], tags=["blue"])
    mine, theirs = api.artifact(f"{project}/ds:v0"), api.artifact(f"{project}/ds:v0")
    theirs.description = "by someone else"
    theirs.tags.append("theirs")
    theirs.save()
    mine.aliases.append("mine")
    mine.aliases.remove("best")
    mine.tags = ["green"]
    mine.metadata["new"] = [1]
    mine.ttl = timedelta(hours=1)
    mine.save()
    found = api.artifact(f"{project}/ds:mine")
    assert found.description == "by someone else"
    assert sorted(found.aliases) == ["latest", "mine"]
    assert sorted(found.tags) == ["green", "theirs"]
    assert found.metadata == {"rows": 3, "new": [1]}
    assert found.ttl == timedelta(hours=1)
    sent.clear()
    found.save()
    assert sent == []
    found.ttl = wandb_ops.ArtifactTTL.INHERIT
    found.save()
    assert api.artifact(f"{project}/ds:v0").ttl is None
    with pytest.raises(UsageError, match="without / and :"):
        found.aliases = ["a:b"]
    with pytest.raises(UsageError, match="a second or more"):
        found.ttl = timedelta(0)


def test_links_lineage_and_collections(run: Run, made: Artifact, api: Api, project: str, entity: str) -> None:
    logged = run.log_artifact(made)
    link = logged.link(f"{project}-shelf/chosen", aliases=["gold"])
    assert (link.name, link.version, sorted(link.aliases)) == ("chosen:v0", "v0", ["gold", "latest"])
    assert (link.is_link, link.source_name, link.source_project) == (True, "ds:v0", project)
    assert link.source_artifact.id == logged.id
    assert [each.qualified_name for each in logged.linked_artifacts] == [
        f"{entity}/{project}-shelf/chosen:v0"
    ]
    assert not link.collection.is_sequence()
    link.delete()
    assert not api.artifact_exists(f"{project}-shelf/chosen:v0")
    assert api.artifact_exists(f"{project}/ds:v0")
    with pytest.raises(UsageError, match="not a link"):
        logged.unlink()

    user = api.create_run(run_id="user", project=project)
    assert user.use_artifact(logged, use_as="training data") is logged
    user.use_artifact(logged)
    assert [each.name for each in user.used_artifacts()] == ["ds:v0"]
    assert [each.id for each in logged.used_by()] == ["user"]
    maker = logged.logged_by()
    assert maker is not None
    assert maker.id == "maker"
    assert user.log_artifact(logged, aliases=["again"]).id == logged.id
    assert [each.name for each in user.logged_artifacts()] == ["ds:v0"]
    elsewhere = api.create_run(run_id="user", project=f"{project}-other")
    with pytest.raises(UsageError, match="its own project"):
        elsewhere.log_artifact(logged)
    with pytest.raises(UsageError, match="only use an artifact that is logged"):
        user.use_artifact(Artifact("x", type="t"))

    collection = logged.collection
    collection.name, collection.description, collection.type = "renamed", "described", "other"
    collection.tags = ["one", "two"]
    collection.save()
    collection.tags.remove("one")
    collection.save()
    found = api.artifact_collection("other", f"{project}/renamed")
    assert (found.description, found.tags, found.id) == ("described", ["two"], collection.id)
    found.delete()
    assert not api.artifact_collection_exists(f"{project}/renamed", "other")


def test_a_version_with_aliases_is_deleted_only_when_told_so(
    run: Run, made: Artifact, api: Api, project: str
) -> None:
    logged = run.log_artifact(made)
    with pytest.raises(GraphQLError, match="has aliases"):
        logged.delete()
    logged.delete(delete_aliases=True)
    assert not api.artifact_exists(f"{project}/ds:v0")


def test_a_logged_artifact_may_be_pickled(run: Run, made: Artifact, make_api: Callable[..., Api]) -> None:
    logged = run.log_artifact(made)
    copy = pickle.loads(pickle.dumps(logged))
    assert (copy.qualified_name, copy.digest, copy.aliases) == (
        logged.qualified_name,
        logged.digest,
        logged.aliases,
    )
