"""Members of registries: what ours changes the SDK sees, and the other way round."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wandb_ops import GraphQLError, NotFoundError, UsageError, UsageTypeError
from wandb_ops.local.serve import LocalServer
from wandb_ops.public import TeamMember, UserMember

ORGANIZATION = "Acme"


@pytest.fixture(scope="module")
def acme(company: Any) -> Any:
    company.server.add_organization(ORGANIZATION, teams=["crew"], members=["root"])
    return company


@pytest.fixture
def registry(acme: Any) -> Iterator[Any]:
    """ann's registry, through ours."""
    made = acme.ours("ann").create_registry("model", "organization", organization=ORGANIZATION)
    yield made
    made.delete()


def listed(registry: Any) -> list[tuple[str, str, str]]:
    """(kind, who, role) of the members, of ours or the SDK's."""
    return [
        (
            getattr(each.kind, "value", each.kind),
            each.user.username if hasattr(each, "user") else each.team.name,
            getattr(each.role, "value", each.role),
        )
        for each in registry.members()
    ]


def test_who_makes_a_registry_administers_it(registry: Any) -> None:
    (member,) = registry.members()
    assert isinstance(member, UserMember)
    assert (member.user.username, member.role, member.kind) == ("ann", "admin", "User")
    assert registry.team_members() == []


def test_users_and_teams_come_change_and_go(acme: Any, registry: Any) -> None:
    api = acme.ours("ann")
    bob, crew = acme.ours("root").user("bob"), api.team("crew")
    assert registry.add_members(bob, crew) is registry
    assert listed(registry) == [
        ("User", "ann", "admin"),
        ("User", "bob", "viewer"),
        ("Entity", "crew", "viewer"),
    ]
    (team,) = registry.team_members()
    assert isinstance(team, TeamMember)
    assert [each.username for each in team.team.members] == ["ann", "bob"]
    registry.update_member(registry.user_members()[1], "member").update_member(crew.id, role="admin")
    registry.add_members(bob)  # who is there keeps his role
    assert listed(registry)[1:] == [("User", "bob", "member"), ("Entity", "crew", "admin")]
    registry.remove_members(team, bob.id)
    registry.remove_members(bob)
    assert listed(registry) == [("User", "ann", "admin")]


@pytest.mark.sdk
def test_the_sdk_and_ours_see_and_change_the_same(acme: Any, registry: Any, sdk_home: None) -> None:
    theirs = acme.theirs("ann").registry("model", ORGANIZATION)
    assert listed(theirs) == listed(registry)
    their_crew, their_bob = acme.theirs("ann").team("crew"), acme.theirs("root").user("bob")
    theirs.add_members(their_crew, their_bob)
    theirs.update_member(their_bob, role="restricted_viewer")
    assert listed(registry) == listed(theirs)
    assert ("User", "bob", "restricted_viewer") in listed(registry)
    registry.update_member(acme.ours("ann").team("crew"), "member")
    assert listed(theirs)[-1] == ("Entity", "crew", "member")
    for one, other in zip(registry.user_members(), theirs.user_members(), strict=True):
        for name in ("id", "username", "name", "email"):
            assert getattr(one.user, name) == getattr(other.user, name), name
    (our_team,), (their_team,) = registry.team_members(), theirs.team_members()
    assert (our_team.team.id, our_team.team.name) == (their_team.team.id, their_team.team.name)
    theirs.remove_members(their_team, their_bob.id)
    assert listed(registry) == [("User", "ann", "admin")]
    for each in (registry, theirs):
        with pytest.raises(TypeError):
            each.add_members()
        with pytest.raises(TypeError):
            each.remove_members(7)
        with pytest.raises(ValueError, match=r"."):
            each.update_member("no id", "admin")


def test_what_is_no_member_is_refused_before_it_is_sent(registry: Any) -> None:
    for wrong in ("", "no id", base64.b64encode(b"Project:1").decode()):
        with pytest.raises(UsageError, match="neither a user nor a team"):
            registry.add_members(wrong)
    with pytest.raises(UsageTypeError):
        registry.remove_members()
    with pytest.raises(UsageTypeError):
        registry.update_member(None, "admin")
    with pytest.raises(UsageError, match="role"):
        registry.update_member(registry.user_members()[0], "")


def test_only_who_administers_the_registry_changes_its_members(acme: Any, registry: Any) -> None:
    theirs = acme.ours("bob").registry("model", ORGANIZATION)
    bob, cid = acme.ours("root").user("bob"), acme.ours("root").user("cid")
    with pytest.raises(GraphQLError, match="only administrators"):
        theirs.add_members(bob)
    with pytest.raises(GraphQLError, match="no such user in the organization"):
        registry.add_members(cid)
    with pytest.raises(GraphQLError, match="is no member"):
        registry.update_member(bob, "admin")
    with pytest.raises(GraphQLError, match="there is no role"):
        registry.update_member(registry.user_members()[0], "king")
    with pytest.raises(NotFoundError):
        acme.ours("cid").registry("model", ORGANIZATION)
    registry.add_members(acme.ours("ann").team("crew"))
    registry.update_member(acme.ours("ann").team("crew"), "admin")
    assert ("User", "bob", "viewer") in listed(theirs.add_members(bob))
    acme.ours("root").registry("model", ORGANIZATION).remove_members(bob)
    assert ("User", "bob", "viewer") not in listed(registry)


def test_members_go_with_the_registry_and_the_team_and_survive_a_restart(tmp_path: Path) -> None:
    import wandb_ops

    with LocalServer(data=tmp_path) as server:
        server.add_team("blue", members={"local": "admin"})
        server.add_organization(ORGANIZATION, teams=["blue"])
        api = wandb_ops.Api(overrides={"base_url": server.url}, api_key=server.api_key)
        made = api.create_registry("model", "organization", organization=ORGANIZATION)
        made.add_members(api.team("blue"))
        key = server.api_key
    with LocalServer(data=tmp_path) as server:
        api = wandb_ops.Api(overrides={"base_url": server.url}, api_key=key)
        made = api.registry("model", ORGANIZATION)
        assert listed(made) == [("User", "local", "admin"), ("Entity", "blue", "viewer")]
        made.delete()
        with pytest.raises(NotFoundError):
            made.members()
