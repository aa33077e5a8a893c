"""One embedded server for all step tests; each test works in a project of its own."""

from __future__ import annotations

import uuid

import pytest

import wandb_ops


@pytest.fixture
def api(wandb_server_session):
    """A client of the embedded server."""
    return wandb_ops.Api(
        overrides={"base_url": wandb_server_session.url, "entity": wandb_server_session.entity},
        api_key=wandb_server_session.api_key,
    )


@pytest.fixture
def project():
    """A project name no other test uses."""
    return f"p-{uuid.uuid4().hex[:10]}"
