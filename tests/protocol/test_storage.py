"""X81, X82 and the way of a file up to W&B."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults_plugin import Answer, FaultServer, Recorded, json_answer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wandb_ops.errors import ProtocolError, UnsafePath
from wandb_ops.protocol.storage import safe_path, server_features, upload_run_file
from wandb_ops.transport import Transport

Make = Callable[..., Transport]

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "../../.ssh/authorized_keys",
    "/etc/x",
    "//server/share",
    "C:\\x",
    "C:/x",
    "c:x",
    "..\\x",
    "a\\..\\b",
    "a/../../b",
    "a/./b",
    "a//b",
    "a/",
    "%2e%2e/x",
    "%2E%2E/x",
    "a%2fb",
    "a%5cb",
    "..%2fx",
    "a\x00b",
    "a\nb",
    "a\x1b[31m",
    "con",
    "CON.txt",
    "a/nul",
    "com1.log",
    "x/LPT9",
    "name.",
    "name ",
    "a./b",
    "x" * 300,
    "é" * 200,
    "a/" * 600 + "b",
    "\uff0e\uff0e/x",
    "\u2025/x",
    "\u2024\u2024/x",
    "a\uff0fb",
    "a\uff3cb",
    "\u2028",
    "\ud800",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_x81_a_hostile_name_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    """X81: traversal, absolute, drives, percent-encoding, NUL, devices, dots, length, look-alikes."""
    with pytest.raises(UnsafePath, match="The file name") as caught:
        safe_path(tmp_path, name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "f.txt",
        "media/images/x_0_ab.png",
        "a b/ü.json",
        "..hidden",
        "a..b",
        ".gitignore",
        "x=1,y=2",
        "100%",
        "日本語/🙂",
        "12:30.log",
    ],
)
def test_x81_an_ordinary_name_keeps_its_form(name: str, tmp_path: Path) -> None:
    """No name is mapped to another one."""
    assert safe_path(tmp_path, name) == tmp_path / name


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(max_size=60)
    | st.lists(st.sampled_from(["..", ".", "/", "\\", "%2e", "a", "C:", "~"])).map("".join)
)
@example(name="~/x")
def test_x81_whatever_is_accepted_lies_inside(name: str, tmp_path: Path) -> None:
    """X81: property."""
    try:
        path = safe_path(tmp_path, name)
    except UnsafePath:
        return
    inside = tmp_path.resolve()
    assert path.resolve().is_relative_to(inside)
    assert path.resolve() != inside


def test_s78_a_symbolic_link_inside_is_not_followed(tmp_path: Path) -> None:
    """S78: a folder or a file that points out, and the root itself, which may be a link of the user's own."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "new")
    for name in ("folder/x", "file"):
        with pytest.raises(UnsafePath, match="symbolic link"):
            safe_path(root, name)
    (tmp_path / "mine").symlink_to(root)
    assert safe_path(tmp_path / "mine", "x/y") == tmp_path / "mine" / "x" / "y"


class Files:
    """A server that takes files: URLs first, then bytes, then (if it can) a confirmation."""

    def __init__(self, upload_url: str, *, features: tuple[str, ...] = (), headers: Any = ()) -> None:
        self.upload_url = upload_url
        self.features = features
        self.headers = headers
        self.marked: list[Any] = []

    def __call__(self, request: Recorded) -> Answer:
        if request.operation == "CreateRunFiles":
            files = [
                {"name": name, "uploadUrl": self.upload_url} for name in request.json()["variables"]["files"]
            ]
            return json_answer(
                {
                    "data": {
                        "createRunFiles": {"runID": "R", "uploadHeaders": list(self.headers), "files": files}
                    }
                }
            )
        if request.operation == "ServerFeaturesQuery":
            listed = [{"name": name, "isEnabled": True} for name in self.features]
            listed.append({"name": "SWITCHED_OFF", "isEnabled": False})
            return json_answer({"data": {"serverInfo": {"features": listed}}})
        if request.operation == "MarkRunFilesUploaded":
            self.marked.append(request.json()["variables"])
            return json_answer({"data": {"markRunFilesUploaded": {"success": True}}})
        return Answer(body=b"")


def upload(transport: Transport, name: str = "media/f.txt", data: bytes | Path = b"content") -> None:
    upload_run_file(transport, entity="e", project="p", run_id="r", name=name, data=data)


def test_a_file_goes_to_the_signed_url_with_its_headers_and_without_the_key(
    make_transport: Make, fault_server: FaultServer, foreign_server: FaultServer, tmp_path: Path
) -> None:
    """CreateRunFiles, PUT, MarkRunFilesUploaded where the server has it."""
    files = Files(
        f"{foreign_server.url}/up?sig=1",
        features=("MARK_RUN_FILES_UPLOADED",),
        headers=["Content-MD5: abc==", "X-Goog:1:2"],
    )
    fault_server.handler = files
    (tmp_path / "f").write_bytes(b"content")
    transport = make_transport(fault_server)
    upload(transport, data=tmp_path / "f")
    upload(transport)
    put = foreign_server.requests[0]
    assert (put.method, put.target, put.body) == ("PUT", "/up?sig=1", b"content")
    assert (put.headers["content-md5"], put.headers["x-goog"]) == ("abc==", "1:2")
    assert "authorization" not in put.headers
    assert files.marked == [{"entity": "e", "project": "p", "run": "r", "files": ["media/f.txt"]}] * 2
    assert [r.operation for r in fault_server.requests].count("ServerFeaturesQuery") == 1


def test_a_relative_upload_url_belongs_to_the_api_and_gets_the_key(
    make_transport: Make, fault_server: FaultServer, sentinel_key: str
) -> None:
    """As a self-hosted server gives them; and no confirmation where there is no such feature."""
    files = Files("/storage/f")
    fault_server.handler = files
    upload(make_transport(fault_server))
    (put,) = [request for request in fault_server.requests if request.method == "PUT"]
    assert (put.path, put.credentials) == ("/storage/f", f"api:{sentinel_key}")
    assert files.marked == []


@pytest.mark.parametrize("headers", [["no colon"], ["X A: 1"], ["X-A: 1\r\nX-B: 2"]])
def test_a_malformed_upload_header_is_refused(
    headers: list[str], make_transport: Make, fault_server: FaultServer
) -> None:
    """Nothing is uploaded."""
    fault_server.handler = Files("/storage/f", headers=headers)
    with pytest.raises(ProtocolError, match="malformed upload header"):
        upload(make_transport(fault_server))
    assert all(request.method != "PUT" for request in fault_server.requests)


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "http://169.254.169.254/x"])
def test_an_upload_url_to_a_dangerous_place_is_refused(
    url: str, make_transport: Make, fault_server: FaultServer
) -> None:
    """Our data are not sent where a hostile server points."""
    fault_server.handler = Files(url)
    with pytest.raises(ProtocolError):
        upload(make_transport(fault_server))


def test_a_name_nobody_could_download_is_not_uploaded(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """X82: refused before anything is sent."""
    with pytest.raises(UnsafePath):
        upload(make_transport(fault_server), name="../x")
    assert fault_server.requests == []


def test_an_old_server_has_no_features(make_transport: Make, fault_server: FaultServer) -> None:
    """Not knowing the question is an answer; asked once."""
    fault_server.on(
        None,
        json_answer({"errors": [{"message": 'Cannot query field "features" on type "ServerInfo"'}]}),
        nth=None,
    )
    transport = make_transport(fault_server)
    assert server_features(transport) == server_features(transport) == frozenset()
    assert len(fault_server.requests) == 1
