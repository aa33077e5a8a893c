"""A server with runs in it that no code under test wrote: the oracle is what is sent here, byte for byte."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests

from wandb_ops import Api
from wandb_ops.transport.session import Transport

if TYPE_CHECKING:
    from wandb_ops.local.serve import LocalServer

_numbers = itertools.count()

UPSERT = """
mutation UpsertBucket($input: UpsertBucketInput!) {
  upsertBucket(input: $input) { bucket { id name } inserted }
}
"""


class Writer:
    """Writes to the server over plain HTTP, without wandb_ops."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.auth = ("api", server.api_key)
        self.session.trust_env = False

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        answer = self.session.post(
            f"{self.server.url}/graphql", json={"query": query, "variables": variables}, timeout=30
        )
        answer.raise_for_status()
        body = answer.json()
        assert not body.get("errors"), body
        data: dict[str, Any] = body["data"]
        return data

    def run(
        self,
        project: str,
        run_id: str,
        *,
        config: dict[str, Any] | None = None,
        summary: dict[str, Any] | None = None,
        rows: list[dict[str, Any]] | None = None,
        events: list[dict[str, Any]] | None = None,
        exit_code: int | None = None,
        **fields: Any,
    ) -> str:
        """Create a run; returns entity/project/id."""
        wrapped = {key: {"value": value, "desc": None} for key, value in (config or {}).items()}
        given: dict[str, Any] = {
            "name": run_id,
            "modelName": project,
            "entityName": self.server.entity,
            "config": json.dumps(wrapped),
            **fields,
        }
        if summary is not None:
            given["summaryMetrics"] = json.dumps(summary)
        self.graphql(UPSERT, {"input": given})
        if rows or events or exit_code is not None:
            self.stream(project, run_id, rows=rows or [], events=events or [], exit_code=exit_code)
        return f"{self.server.entity}/{project}/{run_id}"

    def stream(
        self,
        project: str,
        run_id: str,
        *,
        rows: list[dict[str, Any]],
        events: list[dict[str, Any]] | None = None,
        exit_code: int | None = None,
        offset: int = 0,
    ) -> None:
        body: dict[str, Any] = {"files": {}}
        for name, lines in {"wandb-history.jsonl": rows, "wandb-events.jsonl": events or []}.items():
            if lines:
                body["files"][name] = {"offset": offset, "content": [json.dumps(line) for line in lines]}
        if exit_code is not None:
            body |= {"complete": True, "exitcode": exit_code}
        url = f"{self.server.url}/files/{self.server.entity}/{project}/{run_id}/file_stream"
        answer = self.session.post(url, json=body, timeout=30)
        assert answer.status_code == 200, answer.text

    def change(self, project: str, run_id: str, **fields: Any) -> None:
        """What another client does to a run meanwhile."""
        self.graphql(
            UPSERT,
            {"input": {"name": run_id, "modelName": project, "entityName": self.server.entity, **fields}},
        )


class CountingTransport(Transport):
    """Notes the name of every operation that it sends."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sent: list[str] = []

    def post(self, path: str, body: bytes, *, operation: str, **options: Any) -> Any:
        self.sent.append(operation)
        return super().post(path, body, operation=operation, **options)

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.sent)


@pytest.fixture(scope="session")
def writer(wandb_server_session: LocalServer) -> Writer:
    return Writer(wandb_server_session)


@pytest.fixture
def project() -> str:
    """The name of a project that no other test uses."""
    return f"public-{next(_numbers)}"


@pytest.fixture
def make_api(wandb_server_session: LocalServer) -> Callable[..., Api]:
    def make(**overrides: str) -> Api:
        given = {"base_url": wandb_server_session.url, "entity": wandb_server_session.entity} | overrides
        api = Api(
            overrides={key: value for key, value in given.items() if value},
            api_key=wandb_server_session.api_key,
        )
        api._transport = CountingTransport(api.transport.settings)
        return api

    return make


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()


@pytest.fixture
def sent(api: Api) -> list[str]:
    """Names of the operations that `api` and its objects sent."""
    transport = api.transport
    assert isinstance(transport, CountingTransport)
    return transport.sent


@pytest.fixture(scope="session")
def entity(wandb_server_session: LocalServer) -> str:
    return wandb_server_session.entity


class Company:
    """A server of several users, and the real SDK and ours as each of them."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.users = {name: server.add_user(name) for name in ("ann", "bob", "cid")}
        self.users["root"] = server.add_user("root", admin=True, email="root@example.org", name="Root")
        server.add_team("crew", members={"ann": "admin", "bob": "member"})

    def ours(self, name: str, **overrides: str) -> Api:
        """`wandb_ops.Api` as that user."""
        return Api(overrides={"base_url": self.server.url, **overrides}, api_key=self.users[name].api_key)

    def theirs(self, name: str, **overrides: str) -> Any:
        """`wandb.Api` as that user."""
        import wandb

        given = {"base_url": self.server.url, **overrides}
        return wandb.Api(overrides=given, api_key=self.users[name].api_key, timeout=60)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    from wandb_ops.local.serve import LocalServer

    with LocalServer(data=tmp_path_factory.mktemp("company")) as server:
        yield Company(server)


@pytest.fixture(scope="module")
def sdk_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The real SDK keeps what it writes in a folder of the test's own, and stops at the end."""
    wandb = pytest.importorskip("wandb")
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("wandb")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"):
        patch.setenv(name, str(folder))
    patch.setenv("WANDB_ERROR_REPORTING", "false")
    patch.setenv("WANDB_SILENT", "true")
    try:
        yield
        wandb.teardown()
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def theirs(sdk_home: None, wandb_server_session: LocalServer) -> Any:
    """The real `wandb.Api`, in this process, on the embedded server."""
    import wandb

    server = wandb_server_session
    given = {"base_url": server.url, "entity": server.entity}
    return wandb.Api(overrides=given, api_key=server.api_key, timeout=60)


@pytest.fixture(scope="module")
def ours(wandb_server_session: LocalServer) -> Api:
    """Our `Api` on the same server."""
    server = wandb_server_session
    return Api(overrides={"base_url": server.url, "entity": server.entity}, api_key=server.api_key)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Team crew of another server of several users, filled: see `World`."""
    from crew_world import World

    from wandb_ops.local.serve import LocalServer

    with LocalServer(data=tmp_path_factory.mktemp("crew")) as server:
        yield World(Company(server), tmp_path_factory.mktemp("world"), Writer)
