"""Artifacts of ours and of the real SDK, on one server: each reads what the other wrote, value by value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wandb_ops

pytestmark = pytest.mark.sdk

FILES = {"a.txt": b"alpha\n", "sub/b.bin": bytes(range(256)), "empty": b"", "z z.txt": b"blank"}


def content(folder: Path | str) -> dict[str, bytes]:
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("source")
    for name, data in FILES.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(data)
    return made


def fill(artifact: Any, folder: Path) -> Any:
    """The same contents, by the methods that both classes have."""
    artifact.add_dir(str(folder))
    artifact.add_file(str(folder / "a.txt"), name="again.txt")
    with artifact.new_file("made.txt") as handle:
        handle.write("made ü")
    artifact.add_reference(f"file://{folder}/a.txt", name="ref.txt")
    artifact.add_reference(f"file://{folder}/sub", name="refs")
    artifact.add_reference("https://example.org/x.csv", name="far.csv", checksum=False)
    return artifact


@pytest.fixture(scope="module")
def theirs(
    wandb_server_session: Any, tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> Iterator[Any]:
    """The real `wandb.Api`; a run of the SDK has logged `theirs:v0`."""
    wandb = pytest.importorskip("wandb")
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("wandb")
    for name, value in wandb_server_session.env.items():
        patch.setenv(name, value)
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        patch.setenv(name, str(home))
    patch.setenv("WANDB_ERROR_REPORTING", "false")
    patch.setenv("WANDB_SILENT", "true")
    patch.setenv("HOME", str(home))
    try:
        run = wandb.init(project="artifact-agreement", id="theirs", dir=str(home))
        artifact = wandb.Artifact(
            "theirs", type="dataset", description="by them", metadata={"n": 1, "deep": [None]}
        )
        run.log_artifact(fill(artifact, folder), aliases=["best"], tags=["blue"]).wait()
        run.finish()
        yield wandb.Api(timeout=60)
        wandb.teardown()
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def ours(wandb_server_session: Any, theirs: Any, folder: Path) -> wandb_ops.Api:
    """Our `Api`; a run of ours has logged `ours:v0`."""
    api = wandb_ops.Api(
        overrides={"base_url": wandb_server_session.url, "entity": wandb_server_session.entity},
        api_key=wandb_server_session.api_key,
    )
    run = api.create_run(run_id="ours", project="artifact-agreement")
    artifact = wandb_ops.Artifact(
        "ours", type="dataset", description="by us", metadata={"n": 1, "deep": [None]}
    )
    run.log_artifact(fill(artifact, folder), aliases=["best"], tags=["blue"])
    run.use_artifact(api.artifact("artifact-agreement/theirs:latest"))
    return api


@pytest.fixture
def path(wandb_server_session: Any) -> str:
    return f"{wandb_server_session.entity}/artifact-agreement"


def test_the_same_content_has_the_same_digest(theirs: Any, folder: Path) -> None:
    import wandb

    mine = fill(wandb_ops.Artifact("x", type="dataset"), folder)
    real = fill(wandb.Artifact("x", type="dataset"), folder)
    assert mine.digest == real.digest
    assert mine.size == real.size
    assert {name: (entry.digest, entry.size, entry.ref) for name, entry in mine.manifest.entries.items()} == {
        name: (entry.digest, entry.size, entry.ref) for name, entry in real.manifest.entries.items()
    }


ATTRIBUTES = [
    "id",
    "name",
    "type",
    "entity",
    "project",
    "version",
    "qualified_name",
    "source_entity",
    "source_project",
    "source_name",
    "source_version",
    "source_qualified_name",
    "is_link",
    "state",
    "digest",
    "size",
    "file_count",
    "commit_hash",
    "created_at",
    "updated_at",
    "history_step",
    "aliases",
    "tags",
    "metadata",
    "description",
    "ttl",
    "url",
]


@pytest.mark.parametrize("name", ["theirs:v0", "theirs:best", "ours:latest", "ours:v0"])
def test_every_attribute_is_the_same(theirs: Any, ours: wandb_ops.Api, path: str, name: str) -> None:
    real, mine = theirs.artifact(f"{path}/{name}"), ours.artifact(f"{path}/{name}")
    for attribute in ATTRIBUTES:
        assert getattr(mine, attribute) == getattr(real, attribute), attribute
    assert repr(mine) == repr(real)
    assert mine.manifest.digest() == real.manifest.digest() == real.digest
    assert mine.manifest.to_manifest_json() == real.manifest.to_manifest_json()
    for entry in real.manifest.entries.values():
        found = mine.get_entry(entry.path)
        assert (found.path, found.digest, found.size, found.ref, found.birth_artifact_id) == (
            entry.path,
            entry.digest,
            entry.size,
            entry.ref,
            entry.birth_artifact_id,
        )
        assert found.ref_url() == real.get_entry(entry.path).ref_url()


def test_each_downloads_what_the_other_logged(
    theirs: Any, ours: wandb_ops.Api, path: str, folder: Path, tmp_path: Path
) -> None:
    expected = {**FILES, "again.txt": b"alpha\n", "made.txt": "made ü".encode()}
    references = {"ref.txt": b"alpha\n", "refs/b.bin": FILES["sub/b.bin"]}
    for number, name in enumerate(("theirs:v0", "ours:v0")):
        real, mine = theirs.artifact(f"{path}/{name}"), ours.artifact(f"{path}/{name}")
        for prefix in expected:  # all but the reference to a host that is not there
            real.download(root=str(tmp_path / f"real{number}"), path_prefix=prefix)
            mine.download(root=tmp_path / f"mine{number}", path_prefix=prefix)
        for reference in references:
            real.get_entry(reference).download(root=str(tmp_path / f"real{number}"))
            mine.get_entry(reference).download(root=str(tmp_path / f"mine{number}"))
        assert content(tmp_path / f"mine{number}") == {**expected, **references}
        assert content(tmp_path / f"real{number}") == {**expected, **references}
        mine.verify(root=str(tmp_path / f"real{number}"))
        real.verify(root=str(tmp_path / f"mine{number}"))


def test_files_are_the_same(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    for name in ("theirs:v0", "ours:v0"):
        real, mine = theirs.artifact(f"{path}/{name}").files(), ours.artifact(f"{path}/{name}").files()
        for pair in zip(mine, real, strict=True):
            for attribute in ("id", "name", "size", "md5", "mimetype"):
                assert getattr(pair[0], attribute) == getattr(pair[1], attribute), attribute
        assert len(mine) == len(real)
        assert mine.path == real.path
        assert repr(mine) == repr(real)


def test_lists_are_the_same(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    def names(found: Any) -> list[str]:
        return [each.name for each in found]

    for call in (
        lambda api: names(api.artifact_types(path)),
        lambda api: names(api.artifact_type("dataset", path).collections(order="name")),
        lambda api: names(api.artifact_collections(path, "dataset", per_page=1)),
        lambda api: names(api.artifacts("dataset", f"{path}/theirs")),
        lambda api: names(api.artifacts("dataset", f"{path}/ours", tags=["blue"])),
        lambda api: names(api.artifacts("dataset", f"{path}/ours", tags=["red"])),
        lambda api: names(api.run(f"{path}/theirs").logged_artifacts()),
        lambda api: names(api.run(f"{path}/ours").logged_artifacts()),
        lambda api: names(api.run(f"{path}/ours").used_artifacts()),
        lambda api: len(api.run(f"{path}/ours").used_artifacts()),
        lambda api: len(api.artifacts("dataset", f"{path}/ours")),
        lambda api: [each.id for each in api.artifact(f"{path}/theirs:v0").used_by()],
        lambda api: api.artifact(f"{path}/ours:v0").logged_by().id,
        lambda api: api.artifact_exists(f"{path}/ours:v0"),
        lambda api: api.artifact_exists(f"{path}/ours:v5"),
        lambda api: api.artifact_exists(f"{path}/ours:v0", "model"),
        lambda api: api.artifact_collection_exists(f"{path}/ours", "dataset"),
        lambda api: api.artifact_collection_exists(f"{path}/ours", "model"),
        lambda api: repr(api.artifact_type("dataset", path)),
        lambda api: names(api.project(*path.split("/")[::-1]).artifacts_types()),
        lambda api: names(api.project(*path.split("/")[::-1]).collections(order="name")),
        lambda api: names(api.project(*path.split("/")[::-1]).collections({"name": "ours"})),
    ):
        assert call(ours) == call(theirs)


def test_collections_are_the_same(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    for name in ("theirs", "ours"):
        real, mine = (api.artifact_collection("dataset", f"{path}/{name}") for api in (theirs, ours))
        for attribute in ("id", "name", "type", "entity", "project", "description", "tags", "aliases"):
            assert getattr(mine, attribute) == getattr(real, attribute), attribute
        for attribute in ("created_at", "updated_at", "project_id"):
            assert getattr(mine, attribute) == getattr(real, attribute), attribute
        assert mine.is_sequence() == real.is_sequence()
        assert repr(mine) == repr(real)


def test_what_one_edits_the_other_sees(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    mine = ours.artifact(f"{path}/theirs:v0")
    mine.aliases.append("by-us")
    mine.metadata["ours"] = True
    mine.save()
    import wandb

    real = wandb.Api(timeout=60).artifact(f"{path}/theirs:by-us")
    assert real.metadata == {"n": 1, "deep": [None], "ours": True}
    link = mine.link(f"{path}-shelf/chosen", aliases=["gold"])
    found = theirs.artifact(f"{path}-shelf/chosen:gold")
    for attribute in ATTRIBUTES:
        if attribute not in {"name", "qualified_name"}:  # one was asked for by alias
            assert getattr(link, attribute) == getattr(found, attribute), attribute
    assert found.linked_at == link.linked_at


def test_where_ours_differs_on_purpose(theirs: Any, ours: wandb_ops.Api, path: str, folder: Path) -> None:
    """docs/compatibility.md: errors are of our tree; a missing entry is a KeyError all the same."""
    from wandb.errors import CommError

    with pytest.raises(KeyError):
        theirs.artifact(f"{path}/ours:v0").get_entry("nothing")
    with pytest.raises(KeyError):
        ours.artifact(f"{path}/ours:v0").get_entry("nothing")
    with pytest.raises(CommError):
        theirs.artifact(f"{path}/ours:v9")
    assert len(theirs.artifacts("dataset", f"{path}/ours", tags=["red"])) == 1
    assert len(ours.artifacts("dataset", f"{path}/ours", tags=["red"])) == 0
    with pytest.raises(ValueError, match="no such artifact"):
        ours.artifact(f"{path}/ours:v9")
