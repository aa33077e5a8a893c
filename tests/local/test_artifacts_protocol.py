"""The artifact protocol without any client: retries, refusals, contents kept once, what a delete leaves."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from wandb_ops.local.serve import LocalServer

CREATE = """mutation C($input: CreateArtifactInput!) { createArtifact(input: $input) {
  artifact { id state digest versionIndex artifactSequence { id latestArtifact { id versionIndex } } } } }"""
MANIFEST = """mutation M($a: ID!, $digest: String!, $type: ArtifactManifestType!, $base: ID) {
  createArtifactManifest(input: {artifactID: $a, name: "wandb_manifest.json", digest: $digest, type: $type,
    baseArtifactID: $base}) { artifactManifest { id file { uploadUrl uploadHeaders } } } }"""
FILES = """mutation F($input: CreateArtifactFilesInput!) { createArtifactFiles(input: $input) { files {
  edges { node { storagePath uploadUrl uploadHeaders artifact { id }
    uploadMultipartUrls { uploadID uploadUrlParts { partNumber uploadUrl } } } } } } }"""
COMMIT = "mutation C($id: ID!) { commitArtifact(input: {artifactID: $id}) { artifact { id digest } } }"
COMPLETE = """mutation C($input: CompleteMultipartUploadArtifactInput!) {
  completeMultipartUploadArtifact(input: $input) { digest } }"""
DELETE = """mutation D($id: ID!) {
  deleteArtifact(input: {artifactID: $id, deleteAliases: true}) { artifact { id } } }"""
BY_NAME = """query Q($p: String!, $n: String!) { project(name: $p) { artifactCollectionMembership(name: $n) {
  versionIndex aliases { alias } artifact { id digest size fileCount state
    files { edges { node { name directUrl sizeBytes } } } } } } }"""


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def digest_of(files: dict[str, bytes]) -> str:
    lines = "".join(f"{name}:{md5(data)}\n" for name, data in sorted(files.items()))
    return hashlib.md5(b"wandb-artifact-manifest-v1\n" + lines.encode()).hexdigest()


def manifest_of(files: dict[str, bytes]) -> bytes:
    contents = {name: {"digest": md5(data), "size": len(data)} for name, data in files.items()}
    return json.dumps(
        {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": contents,
        }
    ).encode()


class Writer:
    """Writes artifacts to a project step by step."""

    def __init__(self, bare: Any, project: str) -> None:
        self.bare = bare
        self.project = project
        bare.upsert(name="writer", modelName=project)

    def create(self, files: dict[str, bytes], name: str = "ds", **given: Any) -> Any:
        values = {
            "entityName": self.bare.server.entity,
            "projectName": self.project,
            "runName": "writer",
            "artifactTypeName": "dataset",
            "artifactCollectionName": name,
            "digest": digest_of(files),
            "digestAlgorithm": "MANIFEST_MD5",
            "enableDigestDeduplication": True,
            **given,
        }
        return self.bare.data(CREATE, input=values)["createArtifact"]["artifact"]

    def ask(self, artifact: str, files: dict[str, bytes], **extra: Any) -> list[Any]:
        specs = [
            {"artifactID": artifact, "name": name, "md5": md5(data), **extra} for name, data in files.items()
        ]
        given = {"artifactFiles": specs, "storageLayout": "V2"}
        edges = self.bare.data(FILES, input=given)["createArtifactFiles"]["files"]["edges"]
        return [edge["node"] for edge in edges]

    def manifest(self, artifact: str, content: bytes, kind: str = "FULL", base: str | None = None) -> str:
        answer = self.bare.data(MANIFEST, a=artifact, digest=md5(content), type=kind, base=base)
        url: str = answer["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]
        return url

    def upload(self, artifact: str, files: dict[str, bytes]) -> int:
        """Uploads what is asked for; how many that were."""
        sent = 0
        for node, data in zip(self.ask(artifact, files), files.values(), strict=True):
            if node["uploadUrl"]:
                assert requests.put(node["uploadUrl"], data=data, timeout=10).status_code == 200
                sent += 1
        content = manifest_of(files)
        assert requests.put(self.manifest(artifact, content), data=content, timeout=10).status_code == 200
        return sent

    def log(self, files: dict[str, bytes], name: str = "ds", **given: Any) -> str:
        made = self.create(files, name, **given)
        if made["state"] == "PENDING":
            self.upload(made["id"], files)
            self.bare.data(COMMIT, id=made["id"])
        return str(made["id"])

    def at(self, name: str) -> Any:
        return self.bare.data(BY_NAME, p=self.project, n=name)["project"]["artifactCollectionMembership"]


@pytest.fixture
def writer(bare: Any, project: str) -> Writer:
    return Writer(bare, project)


def contents(server: LocalServer) -> int:
    return sum(1 for path in (Path(server.data) / "artifacts").rglob("*") if path.is_file())


def test_a_version_has_no_number_until_it_is_committed(writer: Writer) -> None:
    files = {"a": b"1"}
    made = writer.create(files)
    assert (made["state"], made["versionIndex"]) == ("PENDING", None)
    assert writer.at("ds:v0") is None
    writer.upload(made["id"], files)
    assert writer.bare.data(COMMIT, id=made["id"])["commitArtifact"]["artifact"]["digest"] == digest_of(files)
    place = writer.at("ds:latest")
    assert (place["versionIndex"], place["artifact"]["id"]) == (0, made["id"])
    assert (place["artifact"]["size"], place["artifact"]["fileCount"]) == (1, 1)


def test_every_step_may_be_repeated(writer: Writer) -> None:
    files = {"a": b"1", "b": b"2"}
    first = writer.create(files, clientID="c1")
    assert writer.create(files, clientID="c1")["id"] == first["id"]
    # Another client with the same content finishes what the first one began.
    assert writer.create(files, clientID="c2")["id"] == first["id"]
    assert writer.upload(first["id"], files) == 2
    assert writer.upload(first["id"], files) == 0
    for _ in range(2):
        writer.bare.data(COMMIT, id=first["id"])
    again = writer.create(files, clientID="c1")
    assert (again["id"], again["state"], again["versionIndex"]) == (first["id"], "COMMITTED", 0)
    mapping = "query Q($c: ID!) { clientIDMapping(clientID: $c) { serverID } }"
    for client, wanted in (("c1", first["id"]), ("c2", first["id"]), ("nobody", None)):
        assert writer.bare.data(mapping, c=client)["clientIDMapping"]["serverID"] == wanted


def test_content_is_kept_once_and_asked_for_once(writer: Writer, server: LocalServer) -> None:
    before = contents(server)
    shared = b"shared" * 100
    first = writer.log({"a": shared, "b": shared})
    second = writer.create({"c": shared, "d": b"new"})
    nodes = writer.ask(second["id"], {"c": shared, "d": b"new"})
    assert nodes[0]["uploadUrl"] is None
    assert nodes[0]["artifact"]["id"] == first
    assert nodes[1]["artifact"]["id"] == second["id"]
    assert contents(server) - before == 2  # the content and one manifest


def test_a_file_with_another_md5_is_refused(writer: Writer, server: LocalServer) -> None:
    made = writer.create({"a": b"right"})
    (node,) = writer.ask(made["id"], {"a": b"right"})
    before = contents(server)
    answer = requests.put(node["uploadUrl"], data=b"wrong", timeout=10)
    assert answer.status_code == 400
    assert "MD5" in answer.text
    assert contents(server) == before
    forged = node["uploadUrl"].replace("/a?", "/b?")
    assert requests.put(forged, data=b"right", timeout=10).status_code == 403


def test_a_commit_needs_its_files_its_manifest_and_its_digest(writer: Writer) -> None:
    files = {"a": b"missing", "b": b"there"}
    made = writer.create(files)
    assert "manifest was not uploaded" in writer.bare.errors(COMMIT, id=made["id"])[0]
    content = manifest_of(files)
    requests.put(writer.manifest(made["id"], content), data=content, timeout=10).raise_for_status()
    assert "the file a was not uploaded" in writer.bare.errors(COMMIT, id=made["id"])[0]
    other = manifest_of({"b": b"there"})
    requests.put(writer.manifest(made["id"], other), data=other, timeout=10).raise_for_status()
    assert "digest" in writer.bare.errors(COMMIT, id=made["id"])[0]
    assert writer.at("ds:latest") is None


@pytest.mark.parametrize("name", ["../up", "/root", "a/../../b", "a\\b", "%2e%2e/x", ""])
def test_names_that_lead_out_of_a_folder_are_refused(writer: Writer, name: str) -> None:
    made = writer.create({name: b"1"})
    spec = {"artifactID": made["id"], "name": name, "md5": md5(b"1")}
    errors = writer.bare.errors(FILES, input={"artifactFiles": [spec], "storageLayout": "V2"})
    assert "invalid file name" in errors[0]


def test_parts_are_joined_and_checked(writer: Writer, server: LocalServer) -> None:
    data = bytes(range(256)) * 40
    parts = [data[start : start + 4000] for start in range(0, len(data), 4000)]
    wanted = [
        {"partNumber": number, "hexMD5": hashlib.md5(part).hexdigest()}
        for number, part in enumerate(parts, 1)
    ]
    made = writer.create({"big": data})
    (node,) = writer.ask(made["id"], {"big": data}, uploadPartsInput=wanted)
    before = contents(server)
    urls = node["uploadMultipartUrls"]["uploadUrlParts"]
    assert [part["partNumber"] for part in urls] == [1, 2, 3]
    for part, target in zip(parts[:2], urls, strict=False):
        requests.put(target["uploadUrl"], data=part, timeout=10).raise_for_status()
    given = {
        "artifactID": made["id"],
        "uploadID": node["uploadMultipartUrls"]["uploadID"],
        "storagePath": node["storagePath"],
        "completeMultipartAction": "Complete",
        "completedParts": wanted,
    }
    assert "parts that arrived" in writer.bare.errors(COMPLETE, input=given)[0]
    requests.put(urls[2]["uploadUrl"], data=parts[2], timeout=10).raise_for_status()
    for _ in range(2):
        answer = writer.bare.data(COMPLETE, input=given)
        assert answer["completeMultipartUploadArtifact"]["digest"] == md5(data)
    assert contents(server) - before == 1
    writer.upload(made["id"], {"big": data})
    writer.bare.data(COMMIT, id=made["id"])
    (edge,) = writer.at("ds:v0")["artifact"]["files"]["edges"]
    assert requests.get(edge["node"]["directUrl"], timeout=10).content == data


def test_an_incremental_manifest_is_put_onto_its_base(writer: Writer) -> None:
    first = writer.log({"a": b"1", "b": b"2"})
    change = {"b": b"22", "c": b"3"}
    made = writer.create(change, digest="of no importance")
    writer.ask(made["id"], change)
    for node, data in zip(writer.ask(made["id"], change), change.values(), strict=True):
        requests.put(node["uploadUrl"], data=data, timeout=10).raise_for_status()
    content = manifest_of(change)
    url = writer.manifest(made["id"], content, "INCREMENTAL", first)
    requests.put(url, data=content, timeout=10).raise_for_status()
    digest = writer.bare.data(COMMIT, id=made["id"])["commitArtifact"]["artifact"]["digest"]
    assert digest == digest_of({"a": b"1", "b": b"22", "c": b"3"})


def test_aliases_move_and_versions_are_counted_on(writer: Writer) -> None:
    def alias(name: str) -> list[dict[str, str]]:
        return [{"alias": name, "artifactCollectionName": "ds"}]

    writer.log({"a": b"1"}, aliases=alias("best"))
    second = writer.log({"a": b"2"}, aliases=alias("best"))
    assert writer.at("ds:best")["versionIndex"] == 1
    # Content that is there already takes its aliases with it.
    writer.log({"a": b"1"}, aliases=alias("best"))
    assert writer.at("ds:best")["versionIndex"] == 0
    assert writer.at("ds:latest")["versionIndex"] == 1
    writer.bare.data(DELETE, id=second)
    assert writer.at("ds:latest")["versionIndex"] == 0
    writer.log({"a": b"3"})
    assert writer.at("ds:latest")["versionIndex"] == 2
    for wrong in ("v7", "a/b", "a:b", ""):
        given = {"artifactCollectionName": "ds", "artifactTypeName": "dataset", "aliases": alias(wrong)}
        values = {**given, "entityName": writer.bare.server.entity, "projectName": writer.project}
        values |= {"digest": "x", "digestAlgorithm": "MANIFEST_MD5", "enableDigestDeduplication": True}
        assert "invalid alias" in writer.bare.errors(CREATE, input=values)[0]


def test_deleting_leaves_only_what_others_need(writer: Writer, server: LocalServer) -> None:
    before = contents(server)
    shared = b"both"
    first = writer.log({"a": shared, "only": b"first"})
    writer.log({"b": shared})
    writer.bare.data(DELETE, id=first)
    assert contents(server) - before == 2  # the shared content and the second manifest
    (edge,) = writer.at("ds:v1")["artifact"]["files"]["edges"]
    assert requests.get(edge["node"]["directUrl"], timeout=10).content == shared
    run = writer.bare.of_run(writer.project, "writer", "id")["id"]
    delete = (
        "mutation D($id: ID!) { deleteRun(input: {id: $id, deleteArtifacts: true}) { clientMutationId } }"
    )
    writer.bare.data(delete, id=run)
    assert contents(server) == before
    assert writer.at("ds:latest") is None


def test_the_old_addresses_lead_to_contents(writer: Writer, server: LocalServer) -> None:
    artifact = writer.log({"dir/a.txt": b"old"})
    digest = hashlib.md5(b"old").hexdigest()
    entity, project = server.entity, writer.project
    for path in (
        f"/artifacts/{entity}/{digest}",
        f"/artifactsV2/default/{entity}/{project}/ds/{artifact}/{digest}/a.txt",
        f"/artifactsV2/default/{entity}/{project}/ds/{artifact}/{artifact}/{digest}/a.txt",
    ):
        assert writer.bare.http.get(server.url + path, timeout=10).content == b"old"
        assert requests.get(server.url + path, timeout=10).status_code == 401
        missing = path.replace(digest, "0" * 32)
        assert writer.bare.http.get(server.url + missing, timeout=10).status_code == 404


def test_lists_are_paged_by_cursors_that_survive_inserts(writer: Writer) -> None:
    query = """query Q($p: String!, $after: String) { project(name: $p) { artifactType(name: "dataset") {
      artifactCollection(name: "ds") { artifacts(first: 2, after: $after) { totalCount
        pageInfo { endCursor hasNextPage } edges { version node { id } } } } } } }"""
    for number in range(5):
        writer.log({"a": str(number).encode()})
    seen: list[str] = []
    after, more = None, True
    while more:
        answer = writer.bare.data(query, p=writer.project, after=after)
        page = answer["project"]["artifactType"]["artifactCollection"]["artifacts"]
        seen += [edge["version"] for edge in page["edges"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        writer.log({"a": b"later" + str(len(seen)).encode()})
    assert seen == ["v4", "v3", "v2", "v1", "v0"]
    assert page["totalCount"] == 7


def test_a_restart_loses_nothing(tmp_path: Path, bare_client: Callable[[LocalServer], Any]) -> None:
    files = {"a": b"1", "b/c": b"2" * 5000}
    with LocalServer(data=tmp_path) as server:
        Writer(bare_client(server), "p").log(files)
    with LocalServer(data=tmp_path) as server:
        place = Writer(bare_client(server), "p").at("ds:latest")
        got = {
            edge["node"]["name"]: requests.get(edge["node"]["directUrl"], timeout=10).content
            for edge in place["artifact"]["files"]["edges"]
        }
    assert got == files


BY_ID = {
    "artifact": "query Q($i: ID!) { artifact(id: $i) { digest } }",
    "update": (
        'mutation Q($i: ID!) { updateArtifact(input: {artifactID: $i, description: "x"})'
        " { artifact { id } } }"
    ),
    "delete": (
        "mutation Q($i: ID!) { deleteArtifact(input: {artifactID: $i, deleteAliases: true})"
        " { artifact { id } } }"
    ),
    "commit": "mutation Q($i: ID!) { commitArtifact(input: {artifactID: $i}) { artifact { id } } }",
    "manifest": (
        "mutation Q($i: ID!) { createArtifactManifest(input: {"
        ' artifactID: $i, name: "m", digest: "d", type: FULL}) { artifactManifest { id } } }'
    ),
    "files": (
        'mutation Q($i: String!) { createArtifactFiles(input: {artifactFiles: [{artifactID: $i, name: "a",'
        ' md5: "1B2M2Y8AsgTpgAmY7PhCfg=="}]}) { files { edges { node { uploadUrl } } } } }'
    ),
    "link": (
        'mutation Q($i: ID!) { linkArtifact(input: {artifactID: $i, projectName: "mine",'
        ' artifactPortfolioName: "p"}) { versionIndex } }'
    ),
    "use": (
        'mutation Q($i: ID!) { useArtifact(input: {artifactID: $i, entityName: "cid", projectName: "mine",'
        ' runName: "r"}) { artifact { id } } }'
    ),
    "alias": ("mutation Q($i: ID!) { addAliases(input: {artifactID: $i, aliases: []}) { success } }"),
}
OF_COLLECTION = {
    "collection": "query Q($i: ID!) { artifactCollection(id: $i) { name } }",
    "rename": (
        'mutation Q($i: ID!) { updateArtifactSequence(input: {artifactSequenceID: $i, name: "x"})'
        " { artifactCollection { id } } }"
    ),
    "delete": (
        "mutation Q($i: ID!) { deleteArtifactSequence(input: {artifactSequenceID: $i})"
        " { artifactCollection { id } } }"
    ),
}


def test_for_a_stranger_an_artifact_is_as_if_it_never_was(
    tmp_path: Path, bare_client: Callable[[LocalServer], Any]
) -> None:
    with LocalServer(data=tmp_path, entity="ann") as server:
        ann = Writer(bare_client(server), "private")
        artifact = ann.log({"a": b"secret"}, clientID="anns")
        sequence = ann.create({"a": b"secret"})["artifactSequence"]["id"]
        cid = bare_client(server)
        cid.http.auth = ("api", server.add_user("cid").api_key)
        cid.upsert(name="r", modelName="mine")

        def absent(kind: str, value: str) -> str:
            assert base64.b64decode(value).decode().startswith(f"{kind}:v1:")
            return base64.b64encode(f"{kind}:v1:9999".encode()).decode()

        for queries, kind, value in (
            (BY_ID, "Artifact", artifact),
            (OF_COLLECTION, "ArtifactCollection", sequence),
        ):
            for name, query in queries.items():
                there = cid.ask(query, i=value)
                assert there == cid.ask(query, i=absent(kind, value)), name
                assert not any((there.get("data") or {}).values()), name
        mapping = "query Q($c: ID!) { clientIDMapping(clientID: $c) { serverID } }"
        assert cid.data(mapping, c="anns")["clientIDMapping"]["serverID"] is None
        digest = hashlib.md5(b"secret").hexdigest()
        assert cid.http.get(f"{server.url}/artifacts/ann/{digest}", timeout=10).status_code == 404
        # The same content in his own project is asked for anew: nothing tells him that it is there.
        his = Writer(cid, "mine")
        made = his.create({"a": b"secret"}, entityName="cid")
        assert his.ask(made["id"], {"a": b"secret"})[0]["uploadUrl"]
        assert ann.at("ds:v0")["artifact"]["id"] == artifact


def test_a_version_is_read_back_past_every_client(writer: Writer, server: LocalServer) -> None:
    files = {"a": b"1", "dir/b.bin": b"22"}
    made = writer.log(
        files, metadata='{"rows": 3}', aliases=[{"artifactCollectionName": "ds", "alias": "best"}]
    )
    writer.bare.upsert(name="reader", modelName=writer.project)
    given = {
        "entityName": server.entity,
        "projectName": writer.project,
        "runName": "reader",
        "artifactID": made,
    }
    writer.bare.data(
        "mutation U($i: UseArtifactInput!) { useArtifact(input: $i) { artifact { id } } }", i=given
    )
    found = server.artifact(f"{server.entity}/{writer.project}/ds:best")
    assert found == server.artifact(f"{writer.project}/ds:v0")
    assert (found.name, found.type, found.metadata) == ("ds:v0", "dataset", {"rows": 3})
    assert (found.files, found.references, found.digest) == (files, {}, digest_of(files))
    assert (found.logged_by, found.used_by) == ("writer", ["reader"])
    assert "best" in found.aliases
    with pytest.raises(LookupError, match="ds:v1"):
        server.artifact(f"{writer.project}/ds:v1")
