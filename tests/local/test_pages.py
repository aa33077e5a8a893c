"""The web page: who may see it over HTTP, and what a real browser shows."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import shutil
import wave

import pytest
import requests

KEYS = ("train/loss", "train/accuracy", "validation/loss")


def write_run(server, project, run_id, rows, *, name=None, config=None, exit_code=0):
    """A run written through the server's own endpoints."""
    auth = ("api", server.api_key)
    query = (
        "mutation UpsertBucket($name: String, $project: String, $entity: String, $displayName: String,"
        " $config: JSONString) { upsertBucket(input: {name: $name, modelName: $project, entityName: $entity,"
        " displayName: $displayName, config: $config}) { bucket { id } } }"
    )
    wrapped = {key: {"value": value} for key, value in (config or {}).items()}
    answer = requests.post(
        f"{server.url}/graphql",
        json={
            "query": query,
            "variables": {
                "name": run_id, "project": project, "entity": server.entity, "displayName": name or run_id,
                "config": json.dumps(wrapped),
            },
        },
        auth=auth,
        timeout=10,
    )  # fmt: skip
    assert "errors" not in answer.json(), answer.text
    body = {
        "files": {
            "wandb-history.jsonl": {"offset": 0, "content": [json.dumps(row) for row in rows]},
            "wandb-summary.json": {"offset": 0, "content": [json.dumps(rows[-1] if rows else {})]},
        },
        "complete": True,
        "exitcode": exit_code,
    }
    stream = f"{server.url}/files/{server.entity}/{project}/{run_id}/file_stream"
    assert requests.post(stream, json=body, auth=auth, timeout=10).ok


def stream(server, project, run_id, files):
    """Lines of a run's files, by file name."""
    url = f"{server.url}/files/{server.entity}/{project}/{run_id}/file_stream"
    body = {"files": {name: {"offset": 0, "content": content} for name, content in files.items()}}
    assert requests.post(url, json=body, auth=("api", server.api_key), timeout=10).ok


def ask(server, query, **variables):
    """`data` of a GraphQL answer."""
    answer = requests.post(
        f"{server.url}/graphql", json={"query": query, "variables": variables}, auth=("api", server.api_key),
        timeout=10,
    ).json()  # fmt: skip
    assert "errors" not in answer, answer
    return answer["data"]


def save_file(server, project, run_id, name, content):
    """A file of a run, uploaded as clients do."""
    node = ask(
        server,
        "mutation F($i: CreateRunFilesInput!) { createRunFiles(input: $i) { files { uploadUrl } } }",
        i={"entityName": server.entity, "projectName": project, "runName": run_id, "files": [name]},
    )["createRunFiles"]["files"][0]
    assert requests.put(node["uploadUrl"], data=content, timeout=10).ok


CONTENT = b"rows, many rows"


def write_artifact(server, project, maker, user):
    """A version of one file and one reference, logged by one run and used by another."""
    md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    entries = {
        "dir/<b>.csv": {"digest": md5, "size": len(CONTENT)},
        "far": {"digest": "tag", "size": 7, "ref": "s3://bucket/<i>"},
    }
    text = "".join(f"{name}:{entry['digest']}\n" for name, entry in sorted(entries.items()))
    made = ask(
        server,
        "mutation C($i: CreateArtifactInput!) { createArtifact(input: $i) { artifact { id } } }",
        i={
            "entityName": server.entity, "projectName": project, "runName": maker,
            "artifactTypeName": "dataset", "artifactCollectionName": "data", "metadata": '{"<em>": 3}',
            "digest": hashlib.md5(b"wandb-artifact-manifest-v1\n" + text.encode()).hexdigest(),
            "digestAlgorithm": "MANIFEST_MD5", "enableDigestDeduplication": True,
        },
    )["createArtifact"]["artifact"]["id"]  # fmt: skip
    files = ask(
        server,
        "mutation F($i: CreateArtifactFilesInput!) { createArtifactFiles(input: $i) {"
        " files { edges { node { uploadUrl } } } } }",
        i={"artifactFiles": [{"artifactID": made, "name": "dir/<b>.csv", "md5": md5}], "storageLayout": "V2"},
    )["createArtifactFiles"]["files"]
    assert requests.put(files["edges"][0]["node"]["uploadUrl"], data=CONTENT, timeout=10).ok
    policy = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}
    manifest = json.dumps({"version": 1, **policy, "contents": entries}).encode()
    place = ask(
        server,
        "mutation M($a: ID!, $d: String!) { createArtifactManifest(input: {artifactID: $a, digest: $d,"
        ' name: "wandb_manifest.json", type: FULL}) { artifactManifest { file { uploadUrl } } } }',
        a=made,
        d=base64.b64encode(hashlib.md5(manifest).digest()).decode(),
    )["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]
    assert requests.put(place, data=manifest, timeout=10).ok
    ask(server, "mutation C($a: ID!) { commitArtifact(input: {artifactID: $a}) { artifact { id } } }", a=made)
    ask(
        server,
        "mutation U($i: UseArtifactInput!) { useArtifact(input: $i) { artifact { id } } }",
        i={"entityName": server.entity, "projectName": project, "runName": user, "artifactID": made},
    )


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
)
HOSTILE = "<script>document.title = 'BAD'</script><img src=x onerror=alert(1)>"


def clip():
    """A wave file of half a second."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    return file.getvalue()


def write_media(server):
    """A run as a sync of tfevents writes it: 90 histograms, 30 images, one clip, texts, a table, a page."""
    rows = []
    for number in range(90):
        edges = [number + 0.0, number + 1.0, number + 3.0]
        row = {"_step": number, "global_step": 10 * number, "_timestamp": number}
        row["train/weights"] = {"_type": "histogram", "bins": edges, "values": [1, 3]}
        if number % 3 == 0:
            paths = [f"media/images/{number}.png"]
            row["train/sample"] = {"_type": "images/separated", "count": 1, "filenames": paths}
        if number == 40:
            row["train/tone"] = {"_type": "audio-file", "path": "media/audio/a b.wav", "size": 8044}
            row["nested"] = {"say": f"say {HOSTILE}"}
            row["curve"] = {"_type": "table-file", "path": "media/table/t.table.json", "size": 60}
            row["page"] = {"_type": "html-file", "path": "media/html/p.html", "size": 60}
            row["odd"] = {"_type": "histogram", "bins": [0, math.inf], "values": [math.nan]}
        rows.append(row)
    write_run(server, "media", "m", rows)
    for number in range(0, 90, 3):
        save_file(server, "media", "m", f"media/images/{number}.png", PNG)
    save_file(server, "media", "m", "media/audio/a b.wav", clip())
    save_file(server, "media", "m", "plot.png", PNG)
    save_file(server, "media", "m", "media/html/p.html", HOSTILE.encode())
    table = f'{{"columns": ["<b>", "n"], "data": [[{json.dumps(HOSTILE)}, NaN], ["x", 0.25]]}}'
    save_file(server, "media", "m", "media/table/t.table.json", table.encode())


@pytest.fixture(scope="module")
def site(wandb_server_session):
    """A server with one project of two runs, one of them hostile in its names."""
    for number, run_id in enumerate(("one", "two")):
        rows = [
            {
                "_step": step, "_timestamp": 1000 + step, "_runtime": step, "global_step": step * 10,
                "train/loss": 1 / (step + 1 + number), "train/accuracy": 1 - 1 / (step + 2),
                "validation/loss": math.nan if step == 3 else 2 / (step + 1), "word": "text",
            }
            for step in range(40)
        ]  # fmt: skip
        write_run(
            wandb_server_session, "pages", run_id, rows, name=f"<img src=x onerror=alert({number})>",
            config={"lr": 0.1, "nested": {"depth": 3}}, exit_code=number,
        )  # fmt: skip
    write_run(wandb_server_session, "empty-history", "r", [])
    stream(
        wandb_server_session,
        "pages",
        "one",
        {
            "wandb-events.jsonl": [
                json.dumps({"_runtime": 15 * at, "_timestamp": 1000 + 15 * at, "system.cpu": 10 + at})
                for at in range(4)
            ],
            "output.log": [
                "2026-01-31T12:00:01.500000 \x1b[32mepoch 1\x1b[0m <script>alert(1)</script>",
                "ERROR 2026-01-31T12:00:02.000000 it broke",
                *(f"2026-01-31T12:00:03.000000 line {at}" for at in range(3, 2101)),
            ],
        },
    )
    write_artifact(wandb_server_session, "pages", "one", "two")
    write_media(wandb_server_session)
    return wandb_server_session


@pytest.fixture
def session(site):
    """An HTTP session that went through the login."""
    made = requests.Session()
    made.get(f"{site.url}/login", params={"key": site.api_key}, timeout=10)
    yield made
    made.close()


PAGES = [
    "/",
    "/{e}",
    "/{e}/launch",
    "/{e}/pages",
    "/{e}/pages/charts.json",
    "/{e}/pages/sweeps",
    "/{e}/pages/artifacts",
    "/{e}/pages/artifacts/dataset/data",
    "/{e}/pages/artifacts/dataset/data/v0",
    "/{e}/pages/artifacts/dataset/data/latest",
    "/{e}/pages/reports",
    "/{e}/pages/runs/one",
    "/{e}/pages/runs/one/logs",
    "/{e}/pages/runs/one/system",
    "/{e}/pages/runs/one/system.json",
    "/{e}/pages/runs/one/media.json",
]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("cookie", [None, "", "9999999999.00", "1.abc", "x" * 5000])
def test_without_the_key_every_page_leads_to_the_login(site, path, cookie):
    cookies = {} if cookie is None else {"wandb_ops_page": cookie}
    answer = requests.get(
        site.url + path.format(e=site.entity), cookies=cookies, timeout=10, allow_redirects=False
    )
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/login?next=/")


@pytest.mark.parametrize("path", PAGES)
def test_with_the_key_every_page_is_there(site, session, path):
    answer = session.get(site.url + path.format(e=site.entity), timeout=10)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert site.api_key not in answer.text


def test_a_wrong_key_opens_nothing(site):
    answer = requests.post(f"{site.url}/login", data={"key": "0" * 40}, timeout=10, allow_redirects=False)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("target", ["https://example.com/", "//example.com/", "/\\example.com"])
def test_the_login_sends_nobody_to_another_site(site, target):
    answer = requests.post(
        f"{site.url}/login", params={"next": target}, data={"key": site.api_key}, timeout=10,
        allow_redirects=False,
    )  # fmt: skip
    assert answer.headers["Location"] == "/"


@pytest.mark.parametrize(
    "path", ["/nobody/pages", "/{e}/nothing", "/{e}/pages/runs/none", "/{e}/pages/runs/one/files/x"]
)
def test_what_does_not_exist_is_said_so(site, session, path):
    answer = session.get(site.url + path.format(e=site.entity), timeout=10)
    assert answer.status_code == 404
    assert "Not here" in answer.text


def test_names_from_clients_are_text_and_never_markup(site, session):
    for path in (f"/{site.entity}/pages", f"/{site.entity}/pages/runs/one"):
        assert "<img src=x" not in session.get(site.url + path, timeout=10).text


def test_the_charts_hold_what_was_logged(site, session):
    answer = session.get(f"{site.url}/{site.entity}/pages/charts.json", params={"run": "two"}, timeout=10)
    (run,) = answer.json()["runs"]
    assert (run["id"], run["rows"], run["shown"]) == ("two", 40, 40)
    curve = run["curves"]["validation/loss"]
    assert curve["y"] == [None if step == 3 else 2 / (step + 1) for step in range(40)]
    assert curve["global_step"] == [step * 10 for step in range(40)]
    assert curve["time"] == list(range(40))
    assert sorted(run["curves"]) == sorted(KEYS)


def test_an_artifacts_page_shows_files_lineage_and_metadata_as_text(site, session):
    top = f"{site.url}/{site.entity}/pages/artifacts"
    listed = session.get(top, timeout=10).text
    assert f'href="/{site.entity}/pages/artifacts/dataset/data"' in listed
    page = session.get(f"{top}/dataset/data/latest", timeout=10).text
    for text in ("dir/&lt;b&gt;.csv", "s3://bucket/&lt;i&gt;", "&lt;em&gt;", "logged by", "used by"):
        assert text in page
    assert f"/{site.entity}/pages/runs/one" in page
    assert f"/{site.entity}/pages/runs/two" in page
    assert "<em>" not in page
    run = session.get(f"{site.url}/{site.entity}/pages/runs/two", timeout=10).text
    assert f"/{site.entity}/pages/artifacts/dataset/data/v0" in run


def test_a_file_of_an_artifact_is_downloaded_and_nothing_else_is(site, session):
    files = f"{site.url}/{site.entity}/pages/artifacts/dataset/data/v0/files"
    answer = session.get(f"{files}/dir/%3Cb%3E.csv", timeout=10)
    assert answer.content == CONTENT
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert [session.get(f"{files}/{name}", timeout=10).status_code for name in ("far", "none", "../x")] == [
        404
    ] * 3
    for path in ("model/data/v0", "dataset/data/v1", "dataset/none"):
        assert session.get(f"{site.url}/{site.entity}/pages/artifacts/{path}", timeout=10).status_code == 404


def test_the_log_is_shown_in_pages_without_colours_and_markup(site, session):
    log = f"{site.url}/{site.entity}/pages/runs/one/logs"
    newest = session.get(log, timeout=10).text
    assert "line 2100" in newest
    assert "it broke" not in newest
    first = session.get(log, params={"from": 0}, timeout=10).text
    assert "epoch 1 &lt;script&gt;" in first
    assert "\x1b" not in first
    assert (
        '<tr class="wrong"><td class="dim">2</td><td class="dim">12:00:02</td><td>it broke</td></tr>' in first
    )
    assert "from=2000" in first
    for odd in ("x", "-1", "9" * 30, "9" * 5000):
        assert session.get(log, params={"from": odd}, timeout=10).text == newest


def test_the_system_charts_hold_the_machines_numbers(site, session):
    answer = session.get(f"{site.url}/{site.entity}/pages/runs/one/system.json", timeout=10)
    (run,) = answer.json()["runs"]
    assert (run["rows"], run["shown"], list(run["curves"])) == (4, 4, ["cpu"])
    assert run["curves"]["cpu"]["y"] == [10, 11, 12, 13]
    assert run["curves"]["cpu"]["time"] == [0, 15, 30, 45]


def test_media_are_listed_by_key_and_read_a_few_at_a_time(site, session):
    address = f"{site.url}/{site.entity}/media/runs/m/media.json"
    listed = session.get(address, timeout=10).json()["keys"]
    assert [(each["key"], each["kind"], each["count"]) for each in listed] == [
        ("curve", "table", 1), ("nested.say", "text", 1), ("odd", "histogram", 1), ("page", "html", 1),
        ("train/sample", "images", 30), ("train/tone", "audio", 1), ("train/weights", "histogram", 90),
    ]  # fmt: skip

    def asked(key, **query):
        answer = session.get(address, params={"key": key, **query}, timeout=10).json()
        return answer["total"], answer["entries"]

    total, spread = asked("train/weights")
    assert (total, len(spread)) == (90, 64)
    assert [spread[0]["step"], spread[-1]["step"]] == [0, 890]
    assert spread[-1]["value"] == {"_type": "histogram", "bins": [89.0, 90.0, 92.0], "values": [1, 3]}
    for start, expected in ((27, [27, 28, 29]), (-2, [28, 29]), (30, []), ("1x", list(range(30)))):
        _, found = asked("train/sample", **{"from": start})
        assert [entry["at"] for entry in found] == expected
        assert [entry["row"] for entry in found] == [3 * at for at in expected]
        assert [entry["value"]["filenames"] for entry in found] == [
            [f"media/images/{3 * at}.png"] for at in expected
        ]
    assert asked("nested.say") == (
        1, [{"at": 0, "row": 40, "step": 400, "value": f"say {HOSTILE}"}]
    )  # fmt: skip
    assert asked("odd")[1][0]["value"] == {"_type": "histogram", "bins": [0, "Infinity"], "values": ["NaN"]}
    assert asked("no such key") == (0, [])


def test_a_value_that_only_the_summary_has_is_shown_from_there(site, session):
    picture = {"_type": "image-file", "path": "media/images/0.png"}
    write_run(site, "media", "summed", [{"_step": 0, "loss": 1.0, "seen": picture}])
    summary = {"wandb-summary.json": [json.dumps({"best": picture, "seen": picture, "loss": 1.0})]}
    stream(site, "media", "summed", summary)
    keys = session.get(f"{site.url}/{site.entity}/media/runs/summed/media.json", timeout=10).json()["keys"]
    assert keys == [
        {"key": "best", "kind": "images", "count": 0, "value": picture},
        {"key": "seen", "kind": "images", "count": 1},
    ]


def test_only_what_holds_no_script_is_shown_in_place(site, session):
    save_file(site, "media", "m", "x.svg", b"<svg onload='alert(1)'/>")
    files = f"{site.url}/{site.entity}/media/runs/m/files"
    shown = {}
    for name in ("media/audio/a%20b.wav", "media/images/0.png", "media/html/p.html", "x.svg"):
        headers = session.get(f"{files}/{name}", timeout=10).headers
        shown[name.rpartition(".")[2]] = (
            headers["Content-Type"],
            headers["Content-Disposition"].split(";")[0],
        )
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert shown == {
        "wav": ("audio/wav", "inline"),
        "png": ("image/png", "inline"),
        "html": ("application/octet-stream", "attachment"),
        "svg": ("application/octet-stream", "attachment"),
    }
    page = session.get(f"{site.url}/{site.entity}/media/runs/m", timeout=10).text
    assert 'alt="plot.png"' in page
    assert 'alt="media/' not in page  # those have cards with their keys


def test_a_sweep_is_drawn_with_one_line_for_each_run_that_has_the_metric(site, session):
    config = {
        "method": "random", "name": "drawn <b>", "metric": {"name": "loss"},
        "parameters": {
            "lr": {"min": 0.1, "max": 1.0}, "kind": {"values": ["a", "<i>"]}, "same": {"value": 1},
        },
    }  # fmt: skip
    made = ask(
        site,
        "mutation S($i: UpsertSweepInput!) { upsertSweep(input: $i) { sweep { name } } }",
        i={"projectName": "drawn", "config": json.dumps(config)},
    )["upsertSweep"]["sweep"]["name"]
    upsert = "mutation U($i: UpsertBucketInput!) { upsertBucket(input: $i) { inserted } }"
    for number in range(4):
        values = {"lr": 0.1 + number / 10, "kind": ["a", "<i>"][number % 2], "same": 1}
        given = {
            "modelName": "drawn", "name": f"t{number}", "sweep": made,
            "config": json.dumps({key: {"value": value} for key, value in values.items()}),
            "summaryMetrics": json.dumps({"loss": float(number)} if number else {}),
        }  # fmt: skip
        ask(site, upsert, i=given)
    page = session.get(f"{site.url}/{site.entity}/drawn/sweeps/{made}", timeout=10).text
    assert page.count("<polyline") == 3
    assert page.count('class="best"') == 1
    assert [word in page for word in (">lr</text>", ">kind</text>", ">loss</text>", ">same</text>")] == [
        True, True, True, False,
    ]  # fmt: skip
    assert "<i>" not in page.replace('<i class="dot', "")
    assert "drawn &lt;b&gt;" in session.get(f"{site.url}/{site.entity}/drawn/sweeps", timeout=10).text


def test_numbers_beyond_every_float_break_no_page_and_no_sweep(site, session):
    config = {"method": "bayes", "metric": {"name": "loss"}, "parameters": {"lr": {"min": 0.1, "max": 1.0}}}
    made = ask(
        site,
        "mutation S($i: UpsertSweepInput!) { upsertSweep(input: $i) { sweep { name } } }",
        i={"projectName": "huge", "config": json.dumps(config)},
    )["upsertSweep"]["sweep"]["name"]
    for number, loss in enumerate((10**400, 2, 3)):
        row = {"_step": 0, "_timestamp": 0, "loss": loss}
        write_run(site, "huge", f"h{number}", [row], config={"lr": 0.1 + number / 10})
        given = {"modelName": "huge", "name": f"h{number}", "sweep": made}
        ask(site, "mutation U($i: UpsertBucketInput!) { upsertBucket(input: $i) { inserted } }", i=given)
    agent = ask(
        site,
        'mutation A($s: String!) { createAgent(input: {sweep: $s, host: "h", projectName: "huge"})'
        " { agent { id } } }",
        s=made,
    )["createAgent"]["agent"]["id"]
    beat = 'mutation H($a: ID!) { agentHeartbeat(input: {id: $a, runState: "{}"}) { commands } }'
    (command,) = json.loads(ask(site, beat, a=agent)["agentHeartbeat"]["commands"])
    assert 0.1 <= command["args"]["lr"]["value"] <= 1.0
    top = f"{site.url}/{site.entity}/huge"
    page = session.get(f"{top}/sweeps/{made}", timeout=10)
    assert page.text.count("<polyline") == 2
    assert ">2</td>" in session.get(f"{top}/sweeps", timeout=10).text  # the best one
    (run,) = session.get(f"{top}/charts.json", params={"run": "h0"}, timeout=10).json()["runs"]
    assert run["curves"]["loss"]["y"] == [None]


def test_a_page_of_another_site_can_read_what_is_signed_and_nothing_else(site, session):
    foreign = {"Origin": "https://elsewhere.example"}
    top = f"{site.url}/{site.entity}/pages"
    graphql = requests.post(
        f"{site.url}/graphql", json={"query": "{ viewer { id } }"}, headers=foreign, timeout=10,
        cookies=session.cookies,
    )  # fmt: skip
    assert graphql.status_code == 401  # a cookie opens pages only
    answers = [
        graphql,
        requests.options(f"{site.url}/graphql", headers=foreign, timeout=10),
        *(session.get(top + path, headers=foreign, timeout=10) for path in (
            "", "/charts.json", "/runs/one/system.json", "/artifacts/dataset/data/v0/files/dir/%3Cb%3E.csv",
        )),
    ]  # fmt: skip
    assert [answer.headers.get("Access-Control-Allow-Origin") for answer in answers] == [None] * 6
    node = ask(
        site,
        "mutation F($i: CreateRunFilesInput!) { createRunFiles(input: $i) { files { uploadUrl } } }",
        i={"entityName": site.entity, "projectName": "pages", "runName": "one", "files": ["signed.txt"]},
    )["createRunFiles"]["files"][0]
    assert requests.put(node["uploadUrl"], data=b"x", headers=foreign, timeout=10).ok
    asked = requests.options(node["uploadUrl"], headers=foreign, timeout=10)
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in asked.headers
    unsigned = node["uploadUrl"].partition("?")[0]
    for method in ("GET", "PUT"):
        refused = session.request(method, unsigned, data=b"y", headers=foreign, timeout=10)
        assert refused.status_code == 403


def test_the_project_that_only_holds_queues_is_listed_by_the_api_and_not_on_the_page(wandb_server):
    make = "mutation M($n: String) { upsertModel(input: {name: $n}) { inserted } }"
    for name in ("model-registry", "empty"):
        ask(wandb_server, make, n=name)
    session = requests.Session()
    session.trust_env = False
    session.post(f"{wandb_server.url}/login", data={"key": wandb_server.api_key}, timeout=10)

    def shown():
        page = session.get(wandb_server.url, timeout=10).text
        return [name for name in ("model-registry", "empty") if f">{name}</a>" in page]

    assert shown() == ["empty"]
    listed = "query L($e: String) { models(entityName: $e) { edges { node { name } } } }"
    edges = ask(wandb_server, listed, e=wandb_server.entity)["models"]["edges"]
    assert {edge["node"]["name"] for edge in edges} == {"model-registry", "empty"}
    write_run(wandb_server, "model-registry", "r", [])  # what somebody logged there is never hidden
    assert shown() == ["model-registry", "empty"]


def test_a_queues_items_are_shown_with_their_states(site, session):
    ask(site, 'mutation { upsertModel(input: {name: "model-registry"}) { inserted } }')
    ask(
        site,
        'mutation { upsertRunQueue(input: {projectName: "model-registry", queueName: "q",'
        ' resourceType: "local-container", resourceConfig: "{}"}) { success } }',
    )
    push = 'mutation P($s: JSONString!) { pushToRunQueueByName(input: {projectName: "model-registry",'
    push += ' queueName: "q", runSpec: $s}) { runQueueItemId } }'
    item = ask(site, push, s='{"job": "<b>job"}')["pushToRunQueueByName"]["runQueueItemId"]
    ask(
        site,
        'mutation F($i: ID!) { failRunQueueItem(input: {runQueueItemId: $i, message: "<u>no",'
        ' stage: "agent"}) { success } }',
        i=item,
    )
    claimed = ask(site, push, s='{"project": 5, "job": {"a": "<s>"}}')["pushToRunQueueByName"][
        "runQueueItemId"
    ]
    pop = 'mutation { popFromRunQueue(input: {projectName: "model-registry", queueName: "q"})'
    pop += " { runQueueItemId } }"
    assert ask(site, pop)["popFromRunQueue"]["runQueueItemId"] == claimed
    ack = 'mutation A($i: ID!) { ackRunQueueItem(input: {runQueueItemId: $i, runName: "r5"}) { success } }'
    ask(site, ack, i=claimed)
    page = session.get(f"{site.url}/{site.entity}/launch", timeout=10).text
    assert f'href="/{site.entity}/5/runs/r5"' in page
    for text in ("&lt;b&gt;job", "&lt;u&gt;no", '<span class="state failed">failed</span>'):
        assert text in page


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, driven through its own driver."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--window-size=1300,1000",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield made
    made.quit()


@pytest.mark.browser
def test_a_person_logs_in_and_sees_runs_and_charts(site, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, 15)
    browser.get(f"{site.url}/{site.entity}/pages")
    browser.find_element(By.NAME, "key").send_keys(site.api_key)
    browser.find_element(By.TAG_NAME, "button").click()
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".charts[data-ready]"))
    assert browser.current_url == f"{site.url}/{site.entity}/pages"
    assert len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 2
    cards = browser.find_elements(By.CSS_SELECTOR, ".chart")
    assert sorted(card.get_attribute("data-key") for card in cards) == sorted(KEYS)
    assert all(len(card.find_elements(By.CSS_SELECTOR, "path")) == 2 for card in cards)
    browser.execute_script("document.querySelector('[name=log]').click()")
    browser.execute_script(
        "const s = document.querySelector('[name=smooth]'); s.value = 0.8;"
        " s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert len(browser.find_elements(By.CSS_SELECTOR, ".chart path.raw")) == 2 * len(KEYS)
    browser.find_element(By.CSS_SELECTOR, "tbody a").click()
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".charts[data-ready]"))
    assert "nested.depth" in browser.find_element(By.TAG_NAME, "main").text
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert base64.b64decode(browser.get_screenshot_as_base64()).startswith(b"\x89PNG")


@pytest.mark.browser
def test_a_person_sees_hears_and_reads_what_a_run_logged(site, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, 15)
    browser.get(f"{site.url}/login?key={site.api_key}&next=/{site.entity}/media/runs/m")
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".media[data-ready]"))

    def card(key):
        found = browser.find_element(By.CSS_SELECTOR, f'.medium[data-key="{key}"]')
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        wait.until(lambda _: found.get_attribute("data-ready") == "yes")
        return found

    def caption(found):
        return found.find_element(By.TAG_NAME, "figcaption").text

    sample = card("train/sample")
    assert caption(sample) == "step 870 · 30 of 30"
    slider = sample.find_element(By.CSS_SELECTOR, "input[type=range]")
    slider.send_keys(Keys.HOME)
    wait.until(lambda _: caption(sample) == "step 0 · 1 of 30")
    image = sample.find_element(By.TAG_NAME, "img")
    wait.until(lambda b: b.execute_script("return arguments[0].naturalWidth", image) == 1)
    assert image.get_attribute("alt") == "train/sample, step 0 · 1 of 30"
    assert slider.get_attribute("aria-valuetext") == "step 0 · 1 of 30"
    assert image.get_attribute("src").endswith("/files/media/images/0.png")

    weights = card("train/weights")
    assert caption(weights) == "step 890 · 64 of 64 (evenly spread of 90) · 4 values from 89 to 92"
    heat, bars = weights.find_elements(By.TAG_NAME, "svg")
    assert heat.get_attribute("aria-label").endswith("64 steps, 0 to 890, values from 0 to 92")
    assert bars.get_attribute("aria-label") == "train/weights, step 890: 4 values from 89 to 92"
    weights.find_element(By.CSS_SELECTOR, "input").send_keys(Keys.HOME)
    assert bars.get_attribute("aria-label") == "train/weights, step 0: 4 values from 0 to 3"
    assert "no finite value to draw" in card("odd").text

    player = card("train/tone").find_element(By.TAG_NAME, "audio")
    browser.execute_script("arguments[0].load(); arguments[0].preload = 'auto'", player)
    wait.until(lambda b: b.execute_script("return arguments[0].duration", player) == 0.5)
    assert player.get_attribute("aria-label") == "train/tone, step 400"

    assert card("nested.say").find_element(By.TAG_NAME, "pre").text == f"say {HOSTILE}"
    cells = [cell.text for cell in card("curve").find_elements(By.CSS_SELECTOR, "th, td")]
    assert cells == ["<b>", "n", HOSTILE, "NaN", "x", "0.25"]
    frame = card("page").find_element(By.TAG_NAME, "iframe")
    assert frame.get_attribute("sandbox") == ""
    policy, _, text = frame.get_attribute("srcdoc").partition(HOSTILE)
    assert ("default-src 'none'" in policy, text) == (True, "")
    assert "BAD" not in browser.title
    assert not browser.find_elements(By.CSS_SELECTOR, "main script:not([src])")
    said = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert all("about:srcdoc" in message for message in said)  # what the policy kept from the framed page


@pytest.mark.browser
def test_a_run_without_history_says_so(site, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{site.url}/login?key={site.api_key}&next=/{site.entity}/empty-history/runs/r")
    WebDriverWait(browser, 15).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".charts[data-ready]"))
    assert "No numbers have been logged" in browser.find_element(By.CSS_SELECTOR, ".charts").text


@pytest.mark.browser
def test_a_table_is_sorted_by_a_click_and_narrowed_by_a_text(site, browser):
    from selenium.webdriver.common.by import By

    for number in range(9):
        rows = [{"_step": 0, "score": float((number * 4) % 9)}]
        write_run(site, "table", f"r{number}", rows, name=f"name {number}")
    browser.get(f"{site.url}/login?key={site.api_key}&next=/{site.entity}/table")

    def shown():
        rows = browser.find_elements(By.CSS_SELECTOR, "tbody tr:not([hidden]) td:first-child a")
        return [int(row.text.removeprefix("name ")) for row in rows]

    assert shown() == list(range(8, -1, -1))
    head = next(each for each in browser.find_elements(By.CSS_SELECTOR, "th button") if each.text == "score")
    head.click()
    assert [(number * 4) % 9 for number in shown()] == list(range(9))
    head.click()
    assert [(number * 4) % 9 for number in shown()] == list(range(8, -1, -1))
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("name 3")
    assert shown() == [3]
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
