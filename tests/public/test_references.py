"""References to web servers and object stores: added, noticed when they change, and fetched."""

from __future__ import annotations

import hashlib
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from wandb_ops import Api, Artifact
from wandb_ops.errors import ChecksumMismatch, CommError, NotFoundError, StatusError, UsageError
from wandb_ops.public.runs.run import Run


@pytest.fixture
def run(api: Api, project: str) -> Run:
    return api.create_run(run_id="maker", project=project)


def entries(artifact: Artifact) -> dict[str, tuple[str, int | None, str | None, dict[str, Any]]]:
    return {
        path: (entry.digest, entry.size, entry.ref, entry.extra)
        for path, entry in artifact.manifest.entries.items()
    }


def content(folder: Path | str) -> dict[str, bytes]:
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


# -- the web -----------------------------------------------------------------------------------------------


class Web:
    """A server of somebody else, on loopback; it notes what is asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, str | None]] = {}
        self.moved: dict[str, str] = {}
        self.busy = 0
        self.tag_name = "ETag"
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.seen.append((self.command, self.path, dict(self.headers)))
                path = self.path.partition("?")[0]
                if web.busy:
                    web.busy -= 1
                    self._answer(503, b"")
                elif path in web.moved:
                    self._answer(302, b"", Location=web.moved[path])
                elif path in web.files:
                    data, tag = web.files[path]
                    self._answer(200, data, **({web.tag_name: tag} if tag else {}))
                else:
                    self._answer(404, b"")

            def _answer(self, status: int, data: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Nothing: the tests look at `seen`."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


def test_a_web_reference_is_added_as_the_sdk_adds_it(web: Web, sdk_home: None) -> None:
    wandb = pytest.importorskip("wandb")
    web.files = {"/a.csv": (b"alpha", '"tag"'), "/b": (b"beta", None), "/weak": (b"w", 'W/"t"')}
    real, mine = wandb.Artifact("x", type="dataset"), Artifact("x", type="dataset")
    for artifact in (real, mine):
        for path in web.files:
            artifact.add_reference(web.url + path)
        artifact.add_reference(f"{web.url}/a.csv", name="sub/named")
        artifact.add_reference(f"{web.url}/a.csv", name="blind", checksum=False)
    assert entries(mine) == entries(real)
    assert mine.digest == real.digest
    assert entries(mine)["a.csv"] == ("tag", 5, f"{web.url}/a.csv", {"etag": '"tag"'})


def test_a_web_reference_is_fetched_and_noticed_when_it_changed(run: Run, web: Web, tmp_path: Path) -> None:
    web.files = {"/a": (b"alpha", '"1"'), "/b": (b"beta", None), "/c": (b"gamma", '"1"')}
    web.tag_name = "etag"  # as the servers of some libraries spell it
    artifact = Artifact("refs", type="dataset")
    for path in "ab":
        artifact.add_reference(f"{web.url}/{path}")
    artifact.add_reference(f"{web.url}/c", checksum=False)
    logged = run.log_artifact(artifact)
    assert logged.get_entry("a").digest == "1"
    assert content(logged.download(root=tmp_path / "down")) == {"a": b"alpha", "b": b"beta", "c": b"gamma"}
    logged.verify(root=str(tmp_path / "down"))
    web.files["/a"] = (b"ALPHA", '"2"')
    with pytest.raises(ChecksumMismatch, match="not what it was"):
        logged.get_entry("a").download(root=str(tmp_path / "again"))
    web.files["/b"] = (b"longer", None)
    with pytest.raises(ChecksumMismatch, match="bytes"):
        logged.get_entry("b").download(root=str(tmp_path / "again"))
    del web.files["/c"]
    with pytest.raises(NotFoundError):
        logged.get_entry("c").download(root=str(tmp_path / "again"))
    assert content(tmp_path / "again") == {}


def test_no_key_goes_to_another_server(
    run: Run, api: Api, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login user password {'k' * 40}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    web.files = {"/a": (b"alpha", '"1"')}
    web.moved = {"/moved": "/a"}
    artifact = Artifact("refs", type="dataset")
    artifact.add_reference(f"{web.url}/a?signature=s3cret")
    artifact.add_reference(f"{web.url}/moved")
    run.log_artifact(artifact).download(root=tmp_path / "down")
    assert len(web.seen) == 6
    for _, _, headers in web.seen:
        assert not {"Authorization", "Cookie"} & set(headers)
        assert api.api_key not in str(headers)
        assert "k" * 40 not in str(headers)


def test_an_address_that_gives_nothing_is_said_in_words(web: Web) -> None:
    artifact = Artifact("refs", type="dataset")
    with pytest.raises(NotFoundError, match="nothing at"):
        artifact.add_reference(f"{web.url}/missing")
    web.moved = {"/round": "/round"}
    with pytest.raises(CommError, match="redirects more than"):
        artifact.add_reference(f"{web.url}/round")
    web.files = {"/a": (b"alpha", None)}
    web.busy = 2
    artifact.add_reference(f"{web.url}/a")
    web.busy = 3
    with pytest.raises(StatusError, match="503"):
        artifact.add_reference(f"{web.url}/a?password=hidden")
    web.server.server_close()
    with pytest.raises(UsageError, match="no address"):
        artifact.add_reference("/local/path")


# -- S3 ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3(s3_environment: dict[str, str]) -> Iterator[Any]:
    """A client of a server on loopback; how to reach it stands in the environment, as anywhere."""
    boto3 = pytest.importorskip("boto3")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment.items():
            patch.setenv(name, value)
        patch.setenv("AWS_S3_ENDPOINT_URL", s3_environment["AWS_ENDPOINT_URL"])  # the SDK's own name
        client = boto3.client("s3")
        client.create_bucket(Bucket="plain")
        client.create_bucket(Bucket="kept")
        client.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
        for key in ("d/a.txt", "d/sub/b.txt", "d2/x", "single", "d/", "sp ace/ü.txt"):
            client.put_object(Bucket="plain", Key=key, Body=key.encode())
        yield client


@pytest.fixture
def fresh() -> Iterator[None]:
    """s3fs remembers listings and clients; each test begins anew."""
    fsspec.filesystem("s3").clear_instance_cache()
    yield
    fsspec.filesystem("s3").clear_instance_cache()


def etag(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def test_an_s3_object_is_added_as_the_sdk_adds_it(s3: Any, fresh: None, sdk_home: None) -> None:
    wandb = pytest.importorskip("wandb")
    s3.put_object(Bucket="kept", Key="f", Body=b"one")
    real, mine = wandb.Artifact("x", type="dataset"), Artifact("x", type="dataset")
    for artifact in (real, mine):
        artifact.add_reference("s3://plain/single")
        artifact.add_reference("s3://plain/sp ace/ü.txt", name="named")
        artifact.add_reference("s3://plain/d2/x", name="sub/y")
        artifact.add_reference("s3://kept/f")
        artifact.add_reference("s3://plain/single", name="blind", checksum=False)
    theirs, ours = entries(real), entries(mine)
    assert ours == theirs
    assert ours["f"][3]["versionID"]
    assert mine.digest == real.digest
    assert ours["single"] == (etag(b"single"), 6, "s3://plain/single", {"etag": etag(b"single")})


def test_an_s3_prefix_is_the_objects_below_it(s3: Any, fresh: None) -> None:
    artifact = Artifact("refs", type="dataset")
    artifact.add_reference("s3://plain/d")
    artifact.add_reference("s3://plain/d/", name="under")
    assert {path: entry[2] for path, entry in entries(artifact).items()} == {
        "a.txt": "s3://plain/d/a.txt",
        "sub/b.txt": "s3://plain/d/sub/b.txt",
        "under/a.txt": "s3://plain/d/a.txt",
        "under/sub/b.txt": "s3://plain/d/sub/b.txt",
    }
    assert entries(artifact)["a.txt"][0] == etag(b"d/a.txt")
    assert len(Artifact("refs", type="dataset").add_reference("s3://plain", max_objects=5)) == 5
    with pytest.raises(UsageError, match="5 objects, 4 are allowed"):
        artifact.add_reference("s3://plain", max_objects=4)
    for address in ("s3://plain/nothing", "s3://nowhere/x"):
        with pytest.raises(NotFoundError, match=r"nothing|has no"):
            artifact.add_reference(address)


def test_s3_references_are_fetched_as_they_were(run: Run, s3: Any, fresh: None, tmp_path: Path) -> None:
    first = s3.put_object(Bucket="kept", Key="g", Body=b"one")["VersionId"]
    s3.put_object(Bucket="plain", Key="changes/a", Body=b"before")
    s3.put_object(Bucket="kept", Key="many/h", Body=b"h")
    artifact = Artifact("refs", type="dataset")
    artifact.add_reference("s3://kept/many")
    artifact.add_reference("s3://plain/d", name="d")
    artifact.add_reference("s3://plain/changes/a", name="a")
    artifact.add_reference(f"s3://kept/g?versionId={first}", name="first")
    artifact.add_reference("s3://plain/single", name="blind", checksum=False)
    logged = run.log_artifact(artifact)
    expected = {
        "d/a.txt": b"d/a.txt",
        "d/sub/b.txt": b"d/sub/b.txt",
        "a": b"before",
        "h": b"h",
        "first": b"one",
        "blind": b"single",
    }
    assert content(logged.download(root=tmp_path / "down", skip_cache=True)) == expected
    logged.verify(root=str(tmp_path / "down"))
    s3.put_object(Bucket="kept", Key="g", Body=b"two")
    s3.delete_object(Bucket="kept", Key="many/h")
    s3.put_object(Bucket="plain", Key="changes/a", Body=b"behind")
    fsspec.filesystem("s3").invalidate_cache()
    logged.get_entry("first").download(root=str(tmp_path / "again"))
    logged.get_entry("h").download(root=str(tmp_path / "again"))
    assert content(tmp_path / "again") == {"first": b"one", "h": b"h"}
    with pytest.raises(ChecksumMismatch, match="keeps no earlier versions"):
        logged.get_entry("a").download(root=str(tmp_path / "again"))
    s3.delete_object(Bucket="plain", Key="changes/a")
    fsspec.filesystem("s3").invalidate_cache()
    with pytest.raises(NotFoundError):
        logged.get_entry("a").download(root=str(tmp_path / "again"))
    down = logged.download(root=tmp_path / "rest", allow_missing_references=True)
    assert content(down) == {name: data for name, data in expected.items() if name != "a"}


# -- Google ------------------------------------------------------------------------------------------------


class Google(MemoryFileSystem):
    """Tells of objects what gcsfs tells: an ETag, an MD5 and a generation, and keeps earlier generations.

    The client for the real store is no part of the tests' environment; the code that is tested is S3's.
    """

    protocol = ("gs",)
    kept: ClassVar[dict[str, list[bytes]]] = {}
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).removeprefix("gs://").strip("/")

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path, _, generation = self._strip_protocol(path).partition("#")
        versions = self.kept.get(path, [])
        if not versions:
            return dict(super().info(path, **kwargs))
        number = int(generation) if generation else len(versions)
        data = versions[number - 1]
        return {
            "name": path,
            "type": "file",
            "size": len(data),
            "etag": f"etag-{number}",
            "md5Hash": b64encode(hashlib.md5(data).digest()).decode(),
            "generation": number,
        }

    def find(self, path: str, *_: Any, **__: Any) -> dict[str, dict[str, Any]]:
        root = self._strip_protocol(path)
        return {key: self.info(key) for key in self.kept if key.startswith(root + "/")}

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        from io import BytesIO

        info = self.info(path)
        return BytesIO(self.kept[info["name"]][info["generation"] - 1])


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> type[Google]:
    monkeypatch.setattr(Google, "kept", {})
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gs", Google)  # type: ignore[attr-defined]
    return Google


def test_google_references_go_the_same_way(run: Run, google: type[Google], tmp_path: Path) -> None:
    google.kept.update({"/bucket/a": [b"one"], "/bucket/d/b": [b"b"], "/bucket/d/c/e": [b"e"]})
    artifact = Artifact("refs", type="dataset")
    artifact.add_reference("gs://bucket/a")
    artifact.add_reference("gs://bucket/d", name="d")
    md5 = b64encode(hashlib.md5(b"one").digest()).decode()
    assert entries(artifact)["a"] == ("etag-1", 3, "gs://bucket/a", {"versionID": "1", "md5": md5})
    assert sorted(entries(artifact)) == ["a", "d/b", "d/c/e"]
    logged = run.log_artifact(artifact)
    assert content(logged.download(root=tmp_path / "down")) == {"a": b"one", "d/b": b"b", "d/c/e": b"e"}
    google.kept["/bucket/a"].append(b"two")
    logged.get_entry("a").download(root=str(tmp_path / "again"))
    assert content(tmp_path / "again") == {"a": b"one"}
    google.kept["/bucket/a"] = [b"ONE"]  # the same generation, another content
    with pytest.raises(ChecksumMismatch, match="MD5"):
        logged.get_entry("a").download(root=str(tmp_path / "third"))
    late = Artifact("late", type="dataset")
    late.add_reference("gs://bucket/d/b#1", name="b")
    assert entries(late)["b"][2:] == (
        "gs://bucket/d/b",
        {"versionID": "1", "md5": b64encode(hashlib.md5(b"b").digest()).decode()},
    )


def test_a_store_without_its_library_is_said_in_words() -> None:
    artifact = Artifact("refs", type="dataset")
    with pytest.raises(UsageError, match="library that is not installed"):
        artifact.add_reference("abfs://container/x")
