"""The rules that the tests themselves live by."""

from __future__ import annotations

import socket

import pytest
import requests


@pytest.mark.parametrize("host", ["192.0.2.1", "8.8.8.8", "2001:db8::1"])
def test_no_test_reaches_beyond_this_machine(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as reaching, pytest.raises(PermissionError, match="loopback only"):
        reaching.connect((host, 80))


def test_a_library_does_not_either():
    with pytest.raises(requests.ConnectionError, match="loopback only"):
        requests.get("http://192.0.2.1/", timeout=0.01)
