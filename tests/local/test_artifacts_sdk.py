"""The real `wandb` SDK as the judge of artifacts: what it logs it gets back, to the last byte.

One process does everything once (artifact_session.py). The oracle is the files that were written.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from wandb_ops.local.serve import LocalServer

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the wandb SDK is not installed"),
]

SOURCE = {"a.txt": b"alpha\n", "sub/b.bin": bytes(range(256)), "empty": b""}
FIRST = {**SOURCE, "again/a-copy.txt": b"alpha\n"}
TEXTS = {name: data.decode("latin-1") for name, data in FIRST.items()}


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, run_sdk_script: Any) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("artifacts")
    for name, data in SOURCE.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with LocalServer(data=folder / "data", entity="team") as server:
        yield run_sdk_script(server, "artifact_session.py", folder)


def test_a_logged_artifact_is_committed_as_v0_with_its_aliases(answers: dict[str, Any]) -> None:
    name, version, state, aliases, digest = answers["first"]
    assert (name, version, state, aliases) == ("ds:v0", "v0", "COMMITTED", ["best", "latest", "prod"])
    lines = [f"{path}:{md5(data)}\n" for path, data in sorted(FIRST.items())]
    whole = b"wandb-artifact-manifest-v1\n" + "".join(lines).encode()
    assert digest == hashlib.md5(whole).hexdigest()
    assert answers["size"] == [sum(map(len, FIRST.values())), len(FIRST)]


def test_the_same_content_is_the_same_version_and_other_content_the_next(answers: dict[str, Any]) -> None:
    assert answers["same"] == ["ds:v0", True, answers["first"][4]]
    assert answers["second"] == ["ds:v1", ["best", "latest"]]
    assert answers["best"] == ["ds:best", "v1", ["best"], "dataset", "v1"]


def test_incremental_artifacts_and_drafts_build_on_what_is_there(answers: dict[str, Any]) -> None:
    assert answers["incremental"] == ["ds:v2", sorted([*FIRST, "extra.txt", "more.txt"])]
    assert answers["draft"] == sorted([*FIRST, "extra.txt", "drafted.txt"])


def test_a_version_keeps_what_was_said_of_it(answers: dict[str, Any]) -> None:
    v0 = answers["v0"]
    assert v0["entries"] == {path: [md5(data), len(data)] for path, data in FIRST.items()}
    assert (v0["aliases"], v0["tags"], v0["description"]) == (["prod"], ["blue"], "the first")
    assert v0["metadata"] == {"rows": 3, "deep": {"x": [1, None]}}
    assert (v0["qualified_name"], v0["commit_hash"]) == ("team/arts/ds:v0", 20)


def test_downloads_are_what_was_logged(answers: dict[str, Any]) -> None:
    assert answers["used"] == ["ds:v0", TEXTS]
    assert answers["download"] == TEXTS
    assert answers["part"] == {"again/a-copy.txt": "alpha\n"}
    assert answers["one"].endswith("sub/b.bin")
    assert "Digest mismatch" in answers["verify"]


def test_files_are_listed_with_size_and_md5(answers: dict[str, Any]) -> None:
    assert answers["files"] == sorted([path, len(data), md5(data)] for path, data in FIRST.items())
    assert answers["file_count"] == len(FIRST)
    assert answers["some"] == ["sub/b.bin"]


def test_references_and_tables_come_back(answers: dict[str, Any]) -> None:
    assert answers["refs"] == [["far.bin", "s4"], ["local.txt", "file"], ["other.txt", "wandb-artifact"]]
    assert answers["ref_download"] == {"local.txt": "alpha\n"}
    assert answers["ref_other"] == "alpha\n"
    assert answers["table"] == [[1, "one"], [2, None]]


def test_lineage_knows_who_logged_and_who_used(answers: dict[str, Any]) -> None:
    assert answers["logged_by"] == ["writer", ["reader"]]
    assert answers["logged"][:6] == ["ds:v0", "ds:v1", "ds:v2", "ds:v3", "refs:v0", "tables:v0"]
    assert answers["used_by_run"] == ["ds:v0", "tables:v0"]
    assert answers["relogged"] == "ds:v0"
    assert answers["lineage"] == [["ds:v0", "ds:v1", "tables:v0"], ["ds:v0"]]


def test_types_collections_and_versions_are_listed(answers: dict[str, Any]) -> None:
    assert answers["types"] == ["dataset", "run_table", "table"]
    assert answers["type"] == answers["collections"] == ["ds", "refs"]
    assert answers["versions"] == ["ds:v3", "ds:v2", "ds:v1", "ds:v0"]
    assert answers["oldest"] == answers["versions"][::-1]
    assert (answers["count"], answers["tagged"]) == (4, ["ds:v0"])
    assert answers["exists"] == [True, False, False, True, False]
    assert "is of type 'dataset'" in answers["wrong_type"]


def test_edits_are_saved(answers: dict[str, Any]) -> None:
    assert answers["edited"] == [
        "ds:mine",
        ["best", "mine"],
        ["green", "red"],
        {"new": 1},
        "edited",
        2 * 24 * 3600.0,
    ]
    assert answers["edited_again"] == [["best"], ["green"], None]


def test_links_lead_to_their_source_and_can_be_undone(answers: dict[str, Any]) -> None:
    assert answers["link"] == ["chosen:v0", ["gold", "latest"], True, "team/arts/ds:v1"]
    assert answers["linked"] == ["team/shelf/chosen:v0"]
    assert answers["unlinked"] is False


def test_collections_are_renamed_retyped_tagged_and_deleted(answers: dict[str, Any]) -> None:
    assert answers["collection"] == ["renamed", "described", ["t1", "t2"], "other", True, ["latest"]]
    assert answers["collection_deleted"] is False


def test_a_version_with_aliases_is_deleted_only_when_told_so(answers: dict[str, Any]) -> None:
    assert "has aliases (latest)" in answers["refused"]
    assert answers["after_delete"] == ["ds:v2", "ds:v1", "ds:v0"]
    assert answers["latest"] == "v2"
