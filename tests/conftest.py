"""What every test gets: an environment without the developer's keys, proxies and files."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

import pytest

# With --import-mode=importlib nothing is importable by itself; the shared plugin is, by this.
sys.path.append(str(Path(__file__).parent / "support"))
pytest_plugins = ["faults_plugin", "s3_plugin"]


def _only_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    """No test reaches beyond this machine, whatever it or a library tries."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
        if host != "localhost" and not ipaddress.ip_address(host.split("%", maxsplit=1)[0]).is_loopback:
            raise PermissionError(f"a test tried to reach {host}: tests talk to loopback only")


sys.addaudithook(_only_loopback)

_FOREIGN = ("NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with nothing in it but what libraries cache there."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, empty_home: Path) -> None:
    """No W&B settings, proxies, netrc or certificates of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("WANDB_") or name in _FOREIGN or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(empty_home))
    monkeypatch.setenv("NETRC", os.devnull)


@pytest.fixture(scope="session")
def sentinel_key() -> str:
    """The one API key of the tests; it must turn up nowhere but in Authorization headers."""
    from faults_plugin import SENTINEL_KEY

    return SENTINEL_KEY


@pytest.fixture
def damaged_logs(tmp_path):
    """A folder of three scalars, of which one's payload is damaged; and the bytes of that record."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(tmp_path / "train")) as log:
        for step in (1, 2, 3):
            log.add_scalar("loss", step / 2, step)
    (path,) = (tmp_path / "train").iterdir()
    data = bytearray(path.read_bytes())
    begin = int.from_bytes(data[:8], "little") + 16  # behind the file's version
    size = int.from_bytes(data[begin : begin + 8], "little") + 16
    data[begin + 14] ^= 1
    path.write_bytes(data)
    return tmp_path, size
