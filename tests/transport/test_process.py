"""Threads, forks and reuse of one transport; and the key's binding to one origin."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from faults_plugin import FaultServer, json_answer

from wandb_ops.transport import Kind, Transport
from wandb_ops.transport.budget import budget_for
from wandb_ops.version import __version__

Make = Callable[..., Transport]


def send(transport: Transport) -> bytes:
    return transport.post_json("/graphql", b"{}", kind=Kind.QUERY, operation="Probe", where="w")


def test_requests_of_one_thread_share_a_connection(make_transport: Make, fault_server: FaultServer) -> None:
    """Keep-alive."""
    transport = make_transport(fault_server)
    for _ in range(5):
        send(transport)
    assert {request.connection for request in fault_server.requests} == {1}
    assert fault_server.requests[0].headers["user-agent"] == f"wandb-ops/{__version__}"


def test_sixteen_threads_share_one_transport(make_transport: Make, fault_server: FaultServer) -> None:
    """All get their own answer, over no more connections than threads."""
    fault_server.handler = lambda request: json_answer(request.json())
    transport = make_transport(fault_server)
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(10):
            body = b'{"n": %d}' % (number * 100 + turn)
            answer = transport.post_json("/graphql", body, kind=Kind.QUERY, operation="Probe", where="w")
            if answer != body:
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert len(fault_server.requests) == 160
    assert fault_server.connections <= 17


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_opens_its_own_connections(
    make_transport: Make, fault_server: FaultServer, tmp_path: Path
) -> None:
    """Parent and child never speak on one socket; locks held elsewhere at the fork do not stop the child."""
    fault_server.handler = lambda request: json_answer(request.json())
    transport = make_transport(fault_server)
    send(transport)
    from wandb_ops.transport import budget

    with budget._lock:  # as if another thread were in there at the time of the fork
        pid = os.fork()
        if pid == 0:  # pragma: no cover - runs in the child
            status = 1
            signal.alarm(20)  # a deadlock ends as a failure
            try:
                status = 0 if send(transport) == b"{}" else 2
            except BaseException:
                (tmp_path / "child").write_text(traceback.format_exc())
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
    failure = tmp_path / "child"
    assert os.waitstatus_to_exitcode(status) == 0, failure.read_text() if failure.exists() else "hung"
    send(transport)
    assert [request.connection for request in fault_server.requests] == [1, 2, 1]


def test_a_closed_transport_opens_again(make_transport: Make, fault_server: FaultServer) -> None:
    """close() lets go of sockets, no more."""
    transport = make_transport(fault_server)
    send(transport)
    transport.close()
    transport.close()
    send(transport)
    assert [request.connection for request in fault_server.requests] == [1, 2]


def test_x91_netrc_neither_replaces_nor_leaks_the_key(
    make_transport: Make,
    fault_server: FaultServer,
    foreign_server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sentinel_key: str,
) -> None:
    """X91: requests would send the entry in place of the key, and to the redirect's host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login wrong password wrong\ndefault login any password any\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    transport = make_transport(fault_server)
    send(transport)
    transport.upload(f"{foreign_server.url}/f", b"x", where="f")
    assert fault_server.requests[0].credentials == f"api:{sentinel_key}"
    assert "authorization" not in foreign_server.requests[0].headers


def test_cookies_are_not_kept(make_transport: Make, fault_server: FaultServer) -> None:
    """No state but ours goes from one request to the next."""
    fault_server.handler = lambda _request: json_answer({}).with_headers(Set_Cookie="session=1; Path=/")
    transport = make_transport(fault_server)
    send(transport)
    send(transport)
    assert "cookie" not in fault_server.requests[1].headers


def test_paths_are_appended_to_the_whole_base_url(make_transport: Make, fault_server: FaultServer) -> None:
    """A server behind a path prefix."""
    transport = make_transport(f"{fault_server.url}/api/wandb")
    send(transport)
    transport.get_json("/x", operation="x", where="", params={"a": "b c"})
    transport.upload("/files/e/p/r/f", b"", where="f")
    transport.upload("files/e/p/r/f", b"", where="f")
    assert [request.path for request in fault_server.requests] == [
        "/api/wandb/graphql",
        "/api/wandb/x",
        "/api/wandb/files/e/p/r/f",
        "/api/wandb/files/e/p/r/f",
    ]
    assert fault_server.requests[1].query == {"a": "b c"}


def test_one_budget_per_origin_and_process() -> None:
    """However many transports there are, and never shared between origins."""
    here, there = "https://a.test:443", "https://b.test:443"
    assert budget_for(here, time.monotonic) is budget_for(here, time.monotonic)
    assert budget_for(there, time.monotonic) is not budget_for(here, time.monotonic)
