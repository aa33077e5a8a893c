"""What a user of the real `wandb` SDK does with artifacts, in a process of its own; not collected.

    python artifact_session.py FOLDER

FOLDER holds `source/` (files to log) and takes what `wandb.Api` answered as `answers.json`.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import wandb


def content(folder: str | Path) -> dict[str, str]:
    """Relative names and texts of the files below a folder."""
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes().decode("latin-1")
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def failure(call: Any, *arguments: Any, **named: Any) -> str:
    """The message of the error that a call ends with."""
    try:
        call(*arguments, **named)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def dataset(folder: Path, extra: str | None = None, **given: Any) -> wandb.Artifact:
    """The artifact of the source folder, with one more file for another version."""
    made = wandb.Artifact("ds", type="dataset", **given)
    made.add_dir(str(folder / "source"))
    made.add_file(str(folder / "source" / "a.txt"), name="again/a-copy.txt")
    if extra is not None:
        with made.new_file("extra.txt") as handle:
            handle.write(extra)
    return made


def write(folder: Path, answers: dict[str, Any]) -> None:
    run = wandb.init(project="arts", id="writer", settings=wandb.Settings(init_timeout=60))
    first = dataset(folder, description="the first", metadata={"rows": 3, "deep": {"x": [1, None]}})
    logged = run.log_artifact(first, aliases=["best", "prod"], tags=["blue"]).wait()
    answers["first"] = [logged.name, logged.version, logged.state, sorted(logged.aliases), logged.digest]
    answers["size"] = [logged.size, logged.file_count]
    same = run.log_artifact(dataset(folder)).wait()
    answers["same"] = [same.name, same.id == logged.id, same.digest]
    second = run.log_artifact(dataset(folder, "2"), aliases=["best"]).wait()
    answers["second"] = [second.name, sorted(second.aliases)]

    grown = wandb.Artifact("ds", type="dataset", incremental=True)
    with grown.new_file("more.txt") as handle:
        handle.write("more")
    third = run.log_artifact(grown).wait()
    answers["incremental"] = [third.name, sorted(third.manifest.entries)]

    draft = third.new_draft()
    draft.remove("more.txt")
    with draft.new_file("drafted.txt") as handle:
        handle.write("drafted")
    answers["draft"] = sorted(run.log_artifact(draft).wait().manifest.entries)

    refs = wandb.Artifact("refs", type="dataset")
    refs.add_reference(f"file://{folder / 'source' / 'a.txt'}", name="local.txt")
    refs.add_reference("s4://bucket/key", name="far.bin", checksum=False)
    refs.add_reference(logged.get_entry("a.txt").ref_url(), name="other.txt")
    answers["refs"] = sorted(
        [path, str(entry.ref).split("://")[0]]
        for path, entry in run.log_artifact(refs).wait().manifest.entries.items()
    )

    table = wandb.Table(columns=["n", "text"], data=[[1, "one"], [2, None]])
    tables = wandb.Artifact("tables", type="table")
    tables.add(table, "my_table")
    run.log_artifact(tables).wait()
    run.log({"logged_table": wandb.Table(columns=["x"], data=[[1.5]])})
    run.finish()


def read(folder: Path, answers: dict[str, Any]) -> None:
    api = wandb.Api(timeout=60)
    entity = os.environ["WANDB_ENTITY"]
    run = wandb.init(project="arts", id="reader")
    used = run.use_artifact("ds:v0")
    answers["used"] = [used.name, content(used.download(root=str(folder / "by_run")))]
    run.use_artifact("tables:latest", use_as="the table")
    run.finish()

    found = api.artifact(f"{entity}/arts/ds:best")
    answers["best"] = [found.name, found.version, sorted(found.aliases), found.type, found.source_version]
    v0 = api.artifact(f"{entity}/arts/ds:v0", type="dataset")
    answers["v0"] = {
        "aliases": sorted(v0.aliases),
        "tags": v0.tags,
        "metadata": v0.metadata,
        "description": v0.description,
        "qualified_name": v0.qualified_name,
        "ttl": failure(lambda: v0.ttl),
        "history_step": v0.history_step,
        "commit_hash": len(v0.commit_hash),
        "entries": {path: [entry.digest, entry.size] for path, entry in v0.manifest.entries.items()},
    }
    answers["download"] = content(v0.download(root=str(folder / "down"), skip_cache=True))
    v0.verify(root=str(folder / "down"))
    (folder / "down" / "a.txt").chmod(0o644)
    (folder / "down" / "a.txt").write_text("changed")
    answers["verify"] = failure(v0.verify, root=str(folder / "down"))
    answers["part"] = content(v0.download(root=str(folder / "part"), path_prefix="again/", skip_cache=True))
    answers["files"] = sorted([file.name, file.size, file.md5] for file in v0.files(per_page=2))
    answers["file_count"] = len(v0.files())
    answers["some"] = [file.name for file in v0.files(names=["sub/b.bin"])]
    answers["one"] = v0.get_entry("sub/b.bin").download(root=str(folder / "one"))
    answers["logged_by"] = [v0.logged_by().id, [each.id for each in v0.used_by()]]
    answers["table"] = api.artifact(f"{entity}/arts/tables:latest").get("my_table").data
    refs = api.artifact(f"{entity}/arts/refs:latest")
    answers["ref_download"] = content(refs.download(root=str(folder / "refs"), path_prefix="local"))
    answers["ref_other"] = Path(refs.get_entry("other.txt").download(root=str(folder / "other"))).read_text()
    answers["logged"] = [each.name for each in api.run(f"{entity}/arts/writer").logged_artifacts()]
    answers["used_by_run"] = [each.name for each in api.run(f"{entity}/arts/reader").used_artifacts()]


def lists(answers: dict[str, Any], entity: str) -> None:
    api = wandb.Api(timeout=60)
    path = f"{entity}/arts"
    answers["types"] = sorted(each.name for each in api.artifact_types(path))
    answers["type"] = [
        each.name for each in api.artifact_type("dataset", project=path).collections(order="name")
    ]
    answers["collections"] = [each.name for each in api.artifact_collections(path, "dataset", per_page=1)]
    answers["versions"] = [each.name for each in api.artifacts("dataset", f"{path}/ds", per_page=2)]
    answers["count"] = len(api.artifacts("dataset", f"{path}/ds"))
    answers["oldest"] = [each.name for each in api.artifacts("dataset", f"{path}/ds", order="+createdAt")]
    answers["tagged"] = [each.name for each in api.artifacts("dataset", f"{path}/ds", tags=["blue"])]
    answers["exists"] = [
        api.artifact_exists(f"{path}/ds:v0"),
        api.artifact_exists(f"{path}/ds:v99"),
        api.artifact_exists(f"{path}/nothing:v0"),
        api.artifact_collection_exists(f"{path}/ds", "dataset"),
        api.artifact_collection_exists(f"{path}/ds", "model"),
    ]
    answers["wrong_type"] = failure(api.artifact, f"{path}/ds:v0", type="model")


def change(answers: dict[str, Any], entity: str) -> None:
    api = wandb.Api(timeout=60)
    path = f"{entity}/arts"
    edited = api.artifact(f"{path}/ds:v1")
    edited.aliases.append("mine")
    edited.tags = ["red", "green"]
    edited.metadata["new"] = 1
    edited.description = "edited"
    edited.ttl = timedelta(days=2)
    edited.save()
    again = wandb.Api(timeout=60).artifact(f"{path}/ds:mine")
    answers["edited"] = [
        again.name,
        sorted(again.aliases),
        sorted(again.tags),
        again.metadata,
        again.description,
        again.ttl.total_seconds(),
    ]
    again.aliases.remove("mine")
    again.tags = ["green"]
    again.ttl = None
    again.save()
    answers["edited_again"] = [sorted(again.aliases), again.tags, again.ttl]

    link = api.artifact(f"{path}/ds:v1").link(f"{entity}/shelf/chosen", aliases=["gold"])
    answers["link"] = [link.name, sorted(link.aliases), link.is_link, link.source_qualified_name]
    answers["linked"] = [each.qualified_name for each in api.artifact(f"{path}/ds:v1").linked_artifacts]
    linked = api.artifact(f"{entity}/shelf/chosen:gold")
    linked.unlink()
    answers["unlinked"] = api.artifact_exists(f"{entity}/shelf/chosen:gold")

    collection = api.artifact_collection("dataset", f"{path}/refs")
    collection.name = "renamed"
    collection.description = "described"
    collection.tags = ["t1", "t2"]
    collection.type = "other"
    collection.save()
    renamed = wandb.Api(timeout=60).artifact_collection("other", f"{path}/renamed")
    answers["collection"] = [
        renamed.name,
        renamed.description,
        sorted(renamed.tags),
        renamed.type,
        renamed.is_sequence(),
        renamed.aliases,
    ]
    renamed.delete()
    answers["collection_deleted"] = api.artifact_collection_exists(f"{path}/renamed", "other")

    answers["refused"] = failure(api.artifact(f"{path}/ds:latest").delete)
    api.artifact(f"{path}/ds:latest").delete(delete_aliases=True)
    answers["after_delete"] = [each.name for each in wandb.Api().artifacts("dataset", f"{path}/ds")]
    answers["latest"] = wandb.Api(timeout=60).artifact(f"{path}/ds:latest").version

    run = api.run(f"{path}/reader")
    answers["relogged"] = run.log_artifact(api.artifact(f"{path}/ds:v0"), aliases=["by-api"]).name
    run.use_artifact(api.artifact(f"{path}/ds:v1"))
    answers["lineage"] = [
        sorted(each.name for each in run.used_artifacts()),
        [each.name for each in run.logged_artifacts()],
    ]


def main() -> None:
    folder = Path(sys.argv[1])
    answers: dict[str, Any] = {}
    try:
        write(folder, answers)
        read(folder, answers)
        lists(answers, os.environ["WANDB_ENTITY"])
        change(answers, os.environ["WANDB_ENTITY"])
    finally:
        (folder / "answers.json").write_text(json.dumps(answers))
        wandb.teardown()


if __name__ == "__main__":
    main()
