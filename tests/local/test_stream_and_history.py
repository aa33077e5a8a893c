"""Lines: stored as they came, once, in their place; and read back whole, by step, sampled, or as Parquet."""

from __future__ import annotations

import base64
import http.client
import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests

from wandb_ops.local.serve import LocalServer

HISTORY = "history(minStep: $low, maxStep: $high, samples: $samples)"


def rows(bare: Any, project: str, low: int, high: int, samples: int = 1000) -> list[str]:
    found: list[str] = bare.of_run(project, "r", HISTORY, low=low, high=high, samples=samples)["history"]
    return found


def test_lines_are_kept_to_the_byte(bare: Any, project: str, server: LocalServer) -> None:
    lines = [
        '{"_step": 0,  "spaced" : 1.0}',
        '{"_step":1,"a":NaN,"b":Infinity,"c":-Infinity}',
        '{"_step":2,"big":123456789012345678901234567890,"small":1e-320,"int":1.0}',
        '{"_step":3,"text":"ü \\u00fc \\ud83d\\ude00 \\n \\ud800","nested":{"d":{"e":[1,{"f":null}]}}}',
        '{"_step":4.0,"_timestamp":1.7952894737833128e+09}',
    ]
    bare.upsert(name="r", modelName=project)
    bare.log(project, "r", 0, lines)
    assert server.run(project, "r").history_lines == lines
    assert rows(bare, project, 0, 5) == lines
    assert bare.of_run(project, "r", "history historyLineCount") == {"history": lines, "historyLineCount": 5}
    assert bare.of_run(project, "r", "historyKeys")["historyKeys"]["lastStep"] == 4


def test_a_repeated_chunk_changes_nothing_and_a_shifted_one_overwrites(
    bare: Any, project: str, server: LocalServer
) -> None:
    bare.upsert(name="r", modelName=project)
    first = [{"_step": step, "v": step} for step in range(10)]
    for _ in range(3):
        bare.log(project, "r", 0, first)
    assert server.run(project, "r").history_rows() == first
    assert bare.of_run(project, "r", "historyKeys")["historyKeys"]["keys"]["v"]["typeCounts"] == [
        {"type": "number", "count": 10}
    ]
    bare.log(project, "r", 8, [{"_step": step, "v": "new"} for step in range(8, 12)])
    expected = [*first[:8], *({"_step": step, "v": "new"} for step in range(8, 12))]
    assert server.run(project, "r").history_rows() == expected
    run = bare.of_run(project, "r", "historyKeys historyLineCount")
    assert run["historyLineCount"] == 12
    assert run["historyKeys"]["keys"]["v"]["typeCounts"] == [
        {"type": "number", "count": 8},
        {"type": "string", "count": 4},
    ]
    assert run["historyKeys"]["lastStep"] == 11


def test_one_bad_line_refuses_the_whole_request(bare: Any, project: str, server: LocalServer) -> None:
    bare.upsert(name="r", modelName=project)
    for bad in ("{", "[1]", '{"_step":"x"}', '{"_step":1.5}', '{"_step":99999999999999999999}'):
        answer = bare.stream(
            project,
            "r",
            files={
                "output.log": {"offset": 0, "content": ["x"]},
                "wandb-history.jsonl": {"offset": 0, "content": ['{"_step":0}', bad]},
            },
        )
        assert answer.status_code == 400
        assert "line 1 of wandb-history.jsonl" in answer.json()["error"]
    stored = server.run(project, "r")
    assert (stored.history_lines, stored.log_lines) == ([], [])


@pytest.mark.parametrize(
    "body",
    [
        {"files": {"wandb-history.jsonl": {"offset": -1, "content": ["{}"]}}},
        {"files": {"wandb-history.jsonl": {"offset": "0", "content": ["{}"]}}},
        {"files": {"wandb-history.jsonl": {"offset": 0, "content": [1]}}},
        {"files": {"wandb-history.jsonl": []}},
        {"files": {"wandb-summary.json": {"offset": 0, "content": ["nope"]}}},
        {"complete": True, "exitcode": "0"},
        {"uploaded": "x"},
    ],
)
def test_a_malformed_stream_request_is_400(bare: Any, project: str, body: Any) -> None:
    bare.upsert(name="r", modelName=project)
    assert bare.stream(project, "r", **body).status_code == 400


def test_a_stream_to_a_run_that_does_not_exist_is_404(bare: Any, project: str) -> None:
    assert bare.stream(project, "none").status_code == 404


@pytest.mark.parametrize(
    ("exitcode", "state"), [(0, "finished"), (1, "failed"), (255, "failed"), (None, "finished")]
)
def test_the_exit_code_decides_the_state(bare: Any, project: str, exitcode: int | None, state: str) -> None:
    bare.upsert(name="r", modelName=project)
    answer = bare.stream(project, "r", complete=True, **({} if exitcode is None else {"exitcode": exitcode}))
    assert answer.json() == {"limits": {}, "exitcode": exitcode or 0}
    assert bare.of_run(project, "r", "state")["state"] == state


def test_after_the_end_a_heartbeat_changes_nothing_and_new_lines_revive(bare: Any, project: str) -> None:
    bare.upsert(name="r", modelName=project)
    bare.stream(project, "r", complete=True, exitcode=0)
    bare.stream(project, "r")
    assert bare.of_run(project, "r", "state")["state"] == "finished"
    bare.stream(project, "r", uploaded=["x"])
    assert bare.of_run(project, "r", "state")["state"] == "running"
    bare.stream(project, "r", preempting=True)
    assert bare.of_run(project, "r", "state")["state"] == "preempting"


def test_windows_include_the_first_step_and_not_the_last(bare: Any, project: str) -> None:
    steps = [0, 0, 5, 7, 7, 7, 100, 2_000_000_000_000]
    bare.upsert(name="r", modelName=project)
    bare.log(project, "r", 0, [{"_step": step, "line": index} for index, step in enumerate(steps)])
    for low, high in ((0, 5), (0, 6), (5, 8), (7, 8), (8, 100), (100, 101), (0, 2**62), (101, 2**62)):
        found = [json.loads(line)["line"] for line in rows(bare, project, low, high)]
        assert found == [index for index, step in enumerate(steps) if low <= step < high]


def test_steps_that_fall_back_are_still_found_by_step_in_the_order_written(bare: Any, project: str) -> None:
    steps = [0, 1, 2, 3, 1, 2, 3, 4]
    bare.upsert(name="r", modelName=project)
    bare.log(project, "r", 0, [{"_step": step, "line": index} for index, step in enumerate(steps)])
    assert [json.loads(line)["line"] for line in rows(bare, project, 1, 3)] == [1, 2, 4, 5]


def test_more_rows_than_samples_are_thinned_evenly_with_both_ends(bare: Any, project: str) -> None:
    bare.upsert(name="r", modelName=project)
    bare.log(project, "r", 0, [{"_step": step} for step in range(1000)])
    for found in (rows(bare, project, 100, 900, 9), rows(bare, project, 100, 900, 800)):
        steps = [json.loads(line)["_step"] for line in found]
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (100, 899)
    assert len(rows(bare, project, 100, 900, 9)) == 9
    assert len(rows(bare, project, 100, 900, 800)) == 800
    assert len(bare.of_run(project, "r", "history")["history"]) == 500
    assert len(bare.of_run(project, "r", "history(samples: $samples)", samples=700)["history"]) == 700
    assert len(rows(bare, project, 0, 1000, 1)) == 1


def test_sampled_history_gives_rows_with_every_key_and_an_inclusive_last_step(
    bare: Any, project: str
) -> None:
    written = [
        {"_step": 0, "a": 1, "n": {"x": 0.5}},
        {"_step": 1, "a": 2},
        {"_step": 2, "a": float("nan"), "n": {"x": float("-inf")}, "dot.ted": "t"},
        {"_step": 3, "n": {"x": 3}},
        {"_step": 4, "a": None, "n": {"x": [1, float("inf")]}},
    ]
    bare.upsert(name="r", modelName=project)
    bare.log(project, "r", 0, written)

    def ask(*specs: dict[str, Any]) -> Any:
        texts = [json.dumps(spec) for spec in specs]
        return bare.of_run(project, "r", "sampledHistory(specs: $specs)", specs=texts)["sampledHistory"]

    assert ask({"keys": ["_step", "a", "n.x"]}) == [
        [
            {"_step": 0, "a": 1, "n.x": 0.5},
            {"_step": 2, "a": "NaN", "n.x": "-Infinity"},
            {"_step": 4, "a": None, "n.x": [1, "Infinity"]},
        ]
    ]
    assert ask({"keys": ["a"], "minStep": 1, "maxStep": 2}, {"keys": ["dot.ted"]}, {"keys": ["none"]}) == [
        [{"a": 2}, {"a": "NaN"}],
        [{"dot.ted": "t"}],
        [],
    ]
    assert [row["_step"] for row in ask({"samples": 2})[0]] == [0, 4]
    assert ask({"keys": ["n"], "maxStep": 0}) == [[{"n": {"x": 0.5}}]]


def test_history_keys_count_types_and_flatten_nested_keys(bare: Any, project: str) -> None:
    bare.upsert(name="r", modelName=project)
    assert bare.of_run(project, "r", "historyKeys")["historyKeys"] == {"lastStep": -1, "keys": {}, "sets": []}
    written = [
        {
            "_step": 0,
            "a": 1,
            "n": {"x": {"y": True}},
            "h": {"_type": "histogram", "values": [1], "bins": [0, 1]},
        },
        {"_step": 5, "a": "s", "n": {"x": {"y": None}}, "e": {}, "l": [1]},
    ]
    bare.log(project, "r", 0, written[:1])
    assert set(bare.of_run(project, "r", "historyKeys")["historyKeys"]["keys"]) == {
        "_step",
        "a",
        "n.x.y",
        "h",
    }
    bare.log(project, "r", 1, written[1:])
    for _ in range(2):
        keys = bare.of_run(project, "r", "historyKeys")["historyKeys"]
        assert keys["lastStep"] == 5
        counts = {
            key: {entry["type"]: entry["count"] for entry in value["typeCounts"]}
            for key, value in keys["keys"].items()
        }
        assert counts == {
            "_step": {"number": 2},
            "a": {"number": 1, "string": 1},
            "n.x.y": {"boolean": 1, "nil": 1},
            "h": {"histogram": 1},
            "e": {"map": 1},
            "l": {"list": 1},
        }
        every = keys["keys"].items()
        last = {key: value["previousValue"] for key, value in every if "previousValue" in value}
        assert last == {"_step": 5, "a": "s"}  # numbers and short texts only


def test_events_and_the_console_log_are_paged(bare: Any, project: str) -> None:
    bare.upsert(name="r", modelName=project)
    log = [f"ERROR 2026-01-31T12:00:0{n}.000000 line {n}" if n % 2 else f"plain {n}\n" for n in range(7)]
    events = [f'{{"system.cpu":{n}}}' for n in range(600)]
    files = {
        "output.log": {"offset": 0, "content": log},
        "wandb-events.jsonl": {"offset": 0, "content": events},
    }
    bare.stream(project, "r", files=files)
    found = bare.of_run(project, "r", "events(samples: $samples) eventsLineCount logLineCount", samples=1000)
    assert (found["events"], found["eventsLineCount"], found["logLineCount"]) == (events, 600, 7)
    fields = "edges { node { number line level timestamp } } pageInfo { endCursor hasNextPage }"
    lines, cursor, more = [], None, True
    while more:
        page = bare.of_run(
            project, "r", f"logLines(first: $first, after: $after) {{ {fields} }}", first=3, after=cursor
        )
        lines += [edge["node"] for edge in page["logLines"]["edges"]]
        cursor, more = page["logLines"]["pageInfo"]["endCursor"], page["logLines"]["pageInfo"]["hasNextPage"]
    assert [line["number"] for line in lines] == list(range(7))
    assert lines[1] == {
        "number": 1,
        "line": "line 1",
        "level": "error",
        "timestamp": "2026-01-31T12:00:01.000000",
    }
    assert (lines[2]["line"], lines[2]["level"]) == ("plain 2", "info")
    last = bare.of_run(project, "r", f"logLines(last: $last) {{ {fields} }}", last=2)["logLines"]["edges"]
    assert [edge["node"]["number"] for edge in last] == [5, 6]


@pytest.fixture(scope="module")
def exporting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with LocalServer(
        data=tmp_path_factory.mktemp("exporting"), parquet_after_rows=100, parquet_rows_per_part=400
    ) as server:
        yield server


def exports(bare: Any, project: str) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows of all parts, absent keys absent, and the live data."""
    found = bare.of_run(project, "r", 'parquetHistory(liveKeys: ["_step"]) { parquetUrls liveData }')
    read: list[dict[str, Any]] = []
    for url in found["parquetHistory"]["parquetUrls"]:
        table = pq.read_table(io.BytesIO(requests.get(url, timeout=5).content))
        assert str(table.schema.field("_step").type) == "int64"
        read += [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]
    return read, found["parquetHistory"]["liveData"]


def test_a_long_run_that_ends_is_exported_to_the_last_value(exporting: LocalServer, bare_client: Any) -> None:
    bare = bare_client(exporting)
    bare.upsert(name="r", modelName="long")
    written: list[dict[str, Any]] = [
        {
            "_step": step * 3,
            "loss": 1 / (step + 1),
            "nested": {"x": step, "s": "t"},
            **({"acc": step} if step % 7 == 0 else {}),
            **({"late": float("inf")} if step > 900 else {}),
            "hist": {"_type": "histogram", "values": [step, 2], "bins": [0.5, 1.0, 2.0]},
            "flag": step % 2 == 0,
        }
        for step in range(1000)
    ]
    bare.log("long", "r", 0, written)
    assert exports(bare, "long") == ([], [])
    bare.stream("long", "r", complete=True, exitcode=0)
    read, live = exports(bare, "long")
    assert read == written
    assert live == []
    # Resumed: what came later is live, and exported at the next end.
    bare.upsert(name="r", modelName="long")
    bare.log("long", "r", 1000, [{"_step": 5000, "loss": 0.0}])
    assert exports(bare, "long") == (written, [{"_step": 5000}])
    bare.stream("long", "r", complete=True, exitcode=1)
    assert exports(bare, "long") == ([*written, {"_step": 5000, "loss": 0.0}], [])
    # Rewritten: the old export is void.
    bare.log("long", "r", 999, [{"_step": 2997, "loss": -1.0}])
    assert exports(bare, "long") == ([], [])
    bare.stream("long", "r", complete=True, exitcode=0)
    assert exports(bare, "long")[0] == [
        *written[:999],
        {"_step": 2997, "loss": -1.0},
        {"_step": 5000, "loss": 0.0},
    ]


def test_a_short_run_is_not_exported(exporting: LocalServer, bare_client: Any) -> None:
    bare = bare_client(exporting)
    bare.upsert(name="r", modelName="short")
    bare.log("short", "r", 0, [{"_step": step} for step in range(99)])
    bare.stream("short", "r", complete=True, exitcode=0)
    assert exports(bare, "short") == ([], [])


@pytest.mark.parametrize(
    "odd",
    [
        {"v": "text among numbers"},
        {"v": None},
        {"v": 2**70},
        {"w": {"other": "shape"}},
        {"w": {}},
        {"l": [1, "a"]},
    ],
)
def test_rows_that_parquet_cannot_hold_exactly_stay_live(
    exporting: LocalServer, bare_client: Any, project: str, odd: dict[str, Any]
) -> None:
    bare = bare_client(exporting)
    bare.upsert(name="r", modelName=project)
    written = [{"_step": step, "v": step, "w": {"x": 1}} for step in range(500)]
    bare.log(project, "r", 0, [*written[:450], {**written[450], **odd}, *written[451:]])
    bare.stream(project, "r", complete=True, exitcode=0)
    read, live = exports(bare, project)
    assert read == written[:400]
    assert live == [{"_step": 400}]


def test_integers_and_floats_of_one_key_become_floats_and_stay_equal(
    exporting: LocalServer, bare_client: Any
) -> None:
    bare = bare_client(exporting)
    bare.upsert(name="r", modelName="mixed")
    bare.log("mixed", "r", 0, [{"_step": step, "v": step if step % 2 else step / 4} for step in range(100)])
    bare.stream("mixed", "r", complete=True, exitcode=0)
    read, _ = exports(bare, "mixed")
    assert [row["v"] for row in read] == [step if step % 2 else step / 4 for step in range(100)]
    assert all(type(row["v"]) is float for row in read)


def test_a_lost_update_of_the_summary_keeps_nan(bare: Any, project: str, server: LocalServer) -> None:
    bare.upsert(name="r", modelName=project)
    content = ['{"a":1}', '{"a":NaN,"n":{"b":-Infinity}}']
    bare.stream(project, "r", files={"wandb-summary.json": {"offset": 0, "content": content}})
    assert bare.of_run(project, "r", "summaryMetrics")["summaryMetrics"] == content[-1]
    assert math.isnan(server.run(project, "r").summary["a"])
    assert (
        bare.of_run(project, "r", 'summaryMetrics(keys: ["n"])')["summaryMetrics"] == '{"n":{"b":-Infinity}}'
    )


CREATE = """mutation C($p: String!, $f: [String!]!) {
  createRunFiles(input: {projectName: $p, runName: "r", files: $f}) {
    runID uploadHeaders files { id name uploadUrl } } }"""
LIST = "fileCount files(names: $names, first: $first, after: $after, pattern: $pattern) {"
LIST += " edges { cursor node { id name sizeBytes md5 mimetype url directUrl updatedAt } }"
LIST += " pageInfo { hasNextPage endCursor } }"


def create(bare: Any, project: str, *names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bare.data(CREATE, p=project, f=list(names))["createRunFiles"]["files"]
    return found


def listed(bare: Any, project: str, **arguments: Any) -> Any:
    given = {"names": [], "first": 50, "after": None, "pattern": None, **arguments}
    return bare.of_run(project, "r", LIST, **given)


MD5_OF_HELLO = "XUFAKrxLKna5cZ2REBfFkg=="


def test_a_file_goes_up_and_comes_down_whole_and_in_ranges(bare: Any, project: str) -> None:
    bare.upsert(name="r", modelName=project)
    name = "media/images/ü 1%.txt"
    (made,) = create(bare, project, name)
    assert listed(bare, project)["files"]["edges"] == []
    put = requests.put(made["uploadUrl"], data=b"hello", headers={"Content-MD5": MD5_OF_HELLO}, timeout=5)
    assert put.status_code == 200
    found = listed(bare, project)
    (edge,) = found["files"]["edges"]
    node = edge["node"]
    assert found["fileCount"] == 1
    assert (node["name"], node["sizeBytes"], node["md5"], node["mimetype"]) == (
        name,
        5,
        MD5_OF_HELLO,
        "text/plain",
    )
    got = requests.get(node["directUrl"], timeout=5)
    assert (got.content, got.headers["Content-MD5"], got.headers["Content-Type"]) == (
        b"hello",
        MD5_OF_HELLO,
        "text/plain; charset=utf-8",
    )
    assert "sandbox" in got.headers["Content-Security-Policy"]
    part = requests.get(node["url"], headers={"Range": "bytes=1-3"}, timeout=5)
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"ell", "bytes 1-3/5")
    head = requests.head(node["url"], timeout=5)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "5", b"")
    requests.put(made["uploadUrl"], data=b"", timeout=5)
    assert requests.get(node["url"], timeout=5).content == b""


def test_an_upload_that_is_not_what_it_says_leaves_the_old_file(
    bare: Any, project: str, server: LocalServer
) -> None:
    bare.upsert(name="r", modelName=project)
    (made,) = create(bare, project, "f")
    assert requests.put(made["uploadUrl"], data=b"hello", timeout=5).status_code == 200
    wrong = requests.put(made["uploadUrl"], data=b"hello!", headers={"Content-MD5": MD5_OF_HELLO}, timeout=5)
    assert wrong.status_code == 400
    assert server.run(project, "r").files == {"f": b"hello"}
    assert not list(server.data.glob("storage/*/*.part"))
    blobs = [path for path in server.data.glob("storage/*/*") if path.read_bytes() in {b"hello", b"hello!"}]
    requests.put(made["uploadUrl"], data=b"new", timeout=5)
    assert server.run(project, "r").files == {"f": b"new"}
    assert not any(path.exists() and path.read_bytes() == b"hello!" for path in blobs)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "..%2fx",
        "%2e%2e/x",
        "/etc/passwd",
        "a//b",
        "./a",
        "a\\..\\b",
        "C:/x",
        "~/x",
        "a\u0000b",
        "a\nb",
        "",
        "x" * 1025,
    ],
)
def test_names_that_leave_the_folder_are_refused(
    bare: Any, project: str, name: str, server: LocalServer
) -> None:
    bare.upsert(name="r", modelName=project)
    assert "invalid file name" in bare.errors(CREATE, p=project, f=["fine", name])[0]
    assert create(bare, project, "fine")
    # Even with a signature of ours, such a name is neither written nor read.
    before = sorted(server.data.rglob("*"))
    for method in ("PUT", "GET"):
        # Not through requests, which would tidy the path up first.
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request(method, server.service.signer.path(method, "storage", 1, name), body=b"x")
        assert connection.getresponse().status in {400, 403, 404}
        connection.close()
    assert [path for path in sorted(server.data.rglob("*")) if path not in before] == []


def test_a_url_is_good_for_one_thing_only(bare: Any, project: str) -> None:
    bare.upsert(name="r", modelName=project)
    first, second = create(bare, project, "one", "two")
    requests.put(first["uploadUrl"], data=b"1", timeout=5)
    url = listed(bare, project)["files"]["edges"][0]["node"]["url"]
    query = url.partition("?")[2]
    for bad in (
        second["uploadUrl"].partition("?")[0] + "?" + query,
        url.partition("?")[0],
        url.replace("expires=", "expires=9"),
        url.replace("/one?", "/%2e%2e%2fone?"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
    ):
        assert requests.get(bad, timeout=5).status_code in {400, 403, 404}, bad
    assert requests.put(url, data=b"x", timeout=5).status_code == 403
    assert requests.get(first["uploadUrl"], timeout=5).status_code == 403


def test_a_url_expires(tmp_path: Path, clock: Any, bare_client: Any) -> None:
    with LocalServer(data=tmp_path, clock=clock, url_lifetime=60) as server:
        bare = bare_client(server)
        bare.upsert(name="r", modelName="p")
        (made,) = create(bare, "p", "f")
        clock.now += 59
        assert requests.put(made["uploadUrl"], data=b"x", timeout=5).status_code == 200
        clock.now += 2
        answer = requests.put(made["uploadUrl"], data=b"y", timeout=5)
        assert (answer.status_code, answer.json()["error"]) == (403, "the URL has expired")
        assert server.run("p", "r").files == {"f": b"x"}


def test_files_are_found_by_name_and_pattern_paged_and_deleted(bare: Any, project: str) -> None:
    bare.upsert(name="r", modelName=project)
    wanted = [f"media/{n}.png" for n in range(5)] + ["log.txt"]
    for made in create(bare, project, *wanted):
        requests.put(made["uploadUrl"], data=made["name"].encode(), timeout=5)

    def names(**arguments: Any) -> list[str]:
        return [edge["node"]["name"] for edge in listed(bare, project, **arguments)["files"]["edges"]]

    assert names() == wanted
    assert names(names=["log.txt"]) == ["log.txt"]
    assert names(pattern="%.png") == names(pattern="media/*") == wanted[:5]
    seen, cursor, more = [], None, True
    while more:
        page = listed(bare, project, first=4, after=cursor)["files"]
        seen += [edge["node"]["name"] for edge in page["edges"]]
        cursor, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert seen == wanted
    missing = listed(bare, project, names=["none"])["files"]["edges"][0]["node"]
    assert (missing["md5"], missing["sizeBytes"]) == ("0", 0)
    assert requests.get(missing["url"], timeout=5).status_code == 404
    ids = {edge["node"]["name"]: edge["node"]["id"] for edge in listed(bare, project)["files"]["edges"]}
    number = bare.of_run(project, "r", "projectId")["projectId"]
    delete = "mutation D($f: [ID!]!, $p: Int) { deleteFiles(input: {files: $f, projectId: $p}) { success } }"
    assert "not found" in bare.errors(delete, f=[ids["log.txt"]], p=number + 1)[0]
    assert bare.data(delete, f=[ids["log.txt"]], p=number)["deleteFiles"]["success"] is True
    assert names() == wanted[:5]
    assert base64.b64decode(ids["log.txt"]).startswith(b"File:")
