"""What the tests of commands share."""

from __future__ import annotations

import uuid

import pytest


@pytest.fixture
def project(wandb_server_session, monkeypatch):
    """A project of its own on the server that the environment leads to."""
    name = f"p-{uuid.uuid4().hex[:8]}"
    for variable, value in {**wandb_server_session.env, "WANDB_PROJECT": name}.items():
        monkeypatch.setenv(variable, value)
    return name
