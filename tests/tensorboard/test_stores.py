"""Folders in other stores than S3: whatever fsspec opens, by its URL."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
import urllib.parse
import uuid

import fsspec
import pytest

NAME = "events.out.tfevents.1700000000.host"


@pytest.fixture
def folder(tmp_path, append_events, scalar_event):
    root = tmp_path / "logs"
    for name, late in (("train", 0.0), ("train/deep", 0.5)):
        events = [scalar_event(tag, n / 7, n, 1000 + n + late) for n in range(40) for tag in ("loss", "acc")]
        append_events(root / name / NAME, events)
    (root / "notes.txt").write_text("no events")
    return root


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_any_store_that_fsspec_knows_is_read(folder, local_rows):
    store = fsspec.filesystem("memory")
    root = f"/{uuid.uuid4().hex}"
    for path in folder.rglob("*"):
        if path.is_file():
            store.pipe_file(f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    expected = local_rows(folder)
    assert len(expected) == 80
    assert local_rows(f"memory:/{root}") == expected
    assert local_rows(f"memory:/{root}", chunk=300) == expected


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Say nothing."""


class Ranged(Quiet):
    """As most web servers: a listing of links, sizes by HEAD, ranges."""

    def do_GET(self):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted is None:
            super().do_GET()
            return
        start, end = map(int, wanted.groups())
        with open(self.translate_path(self.path), "rb") as file:
            whole = file.read()
        self.send_response(206)
        part = whole[start : end + 1]
        self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.mark.parametrize("handler", [Ranged, Quiet], ids=["ranges", "no ranges"])
def test_a_folder_that_a_web_server_lists_is_read(folder, local_rows, handler):
    server = serve(functools.partial(handler, directory=str(folder)))
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        assert local_rows(url, chunk=3_000) == local_rows(folder)
    finally:
        server.shutdown()
        server.server_close()


class Bucket(http.server.BaseHTTPRequestHandler):
    """The part of Google Cloud Storage's JSON API that reading needs: list, metadata, media in ranges."""

    objects: dict[str, bytes]

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        parts = [urllib.parse.unquote(part) for part in url.path.split("/o", 1)]
        if len(parts) == 2 and parts[1].strip("/"):
            self._object(parts[1].strip("/"), media=query.get("alt") == "media")
        elif len(parts) == 2:
            prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
            names = sorted(name for name in self.objects if name.startswith(prefix))
            folders = {
                prefix + name[len(prefix) :].split(delimiter)[0] + delimiter
                for name in names
                if delimiter and delimiter in name[len(prefix) :]
            }
            items = [self._item(name) for name in names if not any(name.startswith(f) for f in folders)]
            self._answer(200, {"items": items, "prefixes": sorted(folders)})
        else:
            self._answer(200, {"name": "logs", "kind": "storage#bucket", "locationType": "region"})

    def _item(self, name):
        data = self.objects[name]
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": "logs",
            "size": str(len(data)),
            "etag": str(hash(data)),
        }

    def _object(self, name, *, media):
        if name not in self.objects:
            self._answer(404, {"error": {"code": 404, "message": f"No such object: logs/{name}"}})
        elif not media:
            self._answer(200, self._item(name))
        else:
            data = self.objects[name]
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            part = data[int(wanted[1]) : int(wanted[2] or len(data)) + 1] if wanted else data
            self._answer(206 if wanted else 200, part)

    def _answer(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        """Say nothing."""


def test_a_folder_in_google_cloud_storage_is_read(folder, local_rows, monkeypatch):
    # Its newer client speaks gRPC, which an imitation of the JSON API does not.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    gcsfs = pytest.importorskip("gcsfs", reason="gs:// needs gcsfs, which nothing else here does")
    objects = {
        f"exp/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    server = serve(type("Logs", (Bucket,), {"objects": objects}))
    where = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon", "endpoint_url": where})
    gcsfs.GCSFileSystem.clear_instance_cache()
    try:
        assert local_rows("gs://logs/exp") == local_rows(folder)
        assert local_rows("gs://logs/exp", chunk=3_000) == local_rows(folder)
        assert local_rows("gs://logs/absent") == []
    finally:
        gcsfs.GCSFileSystem.clear_instance_cache()
        server.shutdown()
        server.server_close()
