"""Teams, members, service accounts and organisations: ours beside the real SDK's, on one server."""

from __future__ import annotations

from typing import Any

import pytest

from wandb_ops import Api, GraphQLError, NotFoundError, UsageError

TEAM_ATTRIBUTES = [
    "id", "name", "available", "photo_url", "read_only", "read_only_admin", "is_team", "entity_type",
    "private_only", "storage_bytes", "code_saving_enabled", "default_access", "is_paid",
]  # fmt: skip
MEMBER_ATTRIBUTES = [
    "id", "name", "username", "email", "admin", "pending", "photo_url", "account_type", "api_key", "team",
]  # fmt: skip


def names(team: Any) -> list[str]:
    return [member.username or member.email for member in team.members]


def sdk_error() -> type[Exception]:
    import wandb

    return wandb.errors.CommError


def agree(company: Any, who: str, name: str) -> Any:
    """The team as ours reads it, after a look that the SDK reads the same."""
    theirs, ours = company.theirs(who).team(name), company.ours(who).team(name)
    for attribute in TEAM_ATTRIBUTES:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert repr(ours) == repr(theirs)
    for one, other in zip(ours.members, theirs.members, strict=True):
        for attribute in MEMBER_ATTRIBUTES:
            assert getattr(one, attribute) == getattr(other, attribute), attribute
        assert repr(one) == repr(other)
    return ours


@pytest.mark.sdk
def test_a_team_is_the_same(company: Any, sdk_home: None) -> None:
    assert names(agree(company, "ann", "crew")) == ["ann", "bob"]
    assert names(agree(company, "bob", "crew")) == ["ann", "bob"]
    assert names(agree(company, "ann", "ann")) == ["ann"], "one's own entity is a team of one"


@pytest.mark.sdk
def test_what_is_no_team_is_an_error(company: Any, sdk_home: None) -> None:
    for who, name in (("cid", "crew"), ("cid", "nix"), ("ann", "bob")):
        # compatibility: Api.team (the SDK's fails with KeyError)
        with pytest.raises(KeyError):
            company.theirs(who).team(name)
        with pytest.raises(NotFoundError, match=name):
            company.ours(who).team(name)


@pytest.mark.sdk
def test_teams_are_created_alike(company: Any, sdk_home: None) -> None:
    made = [company.theirs("ann").create_team("fleet-theirs"), company.ours("ann").create_team("fleet-ours")]
    assert [names(team) for team in made] == [["ann"], ["ann"]]
    given = [
        company.theirs("root").create_team("given-theirs", "cid"),
        company.ours("root").create_team("given-ours", admin_username="cid"),
    ]
    assert [[(each.username, each.admin) for each in team.members] for team in given] == [
        [("cid", True), ("root", False)]
    ] * 2
    for team in ("fleet-theirs", "fleet-ours"):
        agree(company, "ann", team)


@pytest.mark.sdk
def test_a_team_that_cannot_be_made_is_an_error(company: Any, sdk_home: None) -> None:
    # compatibility: Api.create_team (the SDK's swallows the refusal)
    assert names(company.theirs("bob").create_team("crew")) == ["ann", "bob"]
    with pytest.raises(GraphQLError, match="'crew' is taken"):
        company.ours("bob").create_team("crew")
    with pytest.raises(GraphQLError, match="user 'nix' not found"):
        company.ours("bob").create_team("of-nix", "nix")
    for wrong in ("", None):
        with pytest.raises(UsageError):
            company.ours("bob").create_team(wrong)


@pytest.mark.sdk
def test_invites_are_the_same(company: Any, sdk_home: None) -> None:
    teams = [company.theirs("bob").create_team("inviting-a"), company.ours("bob").create_team("inviting-b")]
    for team in teams:
        assert team.invite("cid") is True
        assert team.invite("ann@localhost", admin=True) is True
        assert team.invite("later@example.org") is True
        assert team.invite("cid") is False, "invited already"
        assert team.invite("later@example.org") is False, "invited already"
        assert team.invite("nix") is False, "no such user"
        team.load(True)
        assert [(each.username, each.email, each.admin, each.pending) for each in team.members] == [
            ("bob", "bob@localhost", True, False),
            ("cid", "cid@localhost", False, False),
            ("ann", "ann@localhost", True, False),
            (None, "later@example.org", False, True),
        ]
        assert agree(company, "bob", team.name).members[-1].pending


@pytest.mark.sdk
def test_what_a_member_may_not_do_is_an_error(company: Any, sdk_home: None) -> None:
    theirs, ours = company.theirs("bob").team("crew"), company.ours("bob").team("crew")
    # compatibility: Team.invite, Team.create_service_account, Member.delete (the SDK's say False or None)
    assert theirs.invite("cid") is False
    assert theirs.create_service_account("x") is None
    assert theirs.members[0].delete() is False
    attempts = [
        lambda: ours.invite("cid"), lambda: ours.create_service_account("x"), ours.members[0].delete,
    ]  # fmt: skip
    for attempt in attempts:
        with pytest.raises(GraphQLError, match="permission denied"):
            attempt()
    assert names(company.ours("ann").team("crew")) == ["ann", "bob"]


@pytest.mark.sdk
def test_members_are_removed_alike(company: Any, sdk_home: None) -> None:
    for api in (company.theirs("ann"), company.ours("ann")):
        team = api.create_team(f"shrinking-{type(api).__module__.partition('.')[0].replace('_', '-')}")
        assert team.invite("cid")
        assert team.invite("wait@example.org")
        team.load(True)
        for member in team.members[1:]:
            assert member.delete() is True
        team.load(True)
        assert names(team) == ["ann"]


@pytest.mark.sdk
def test_a_service_account_is_made_alike_and_its_key_works(company: Any, sdk_home: None) -> None:
    for api in (company.theirs("ann"), company.ours("ann")):
        member = api.team("crew").create_service_account("nightly export")
        assert (member.name, member.account_type, member.admin) == ("nightly export", "SERVICE", False)
        service = Api(overrides={"base_url": company.server.url}, api_key=member.api_key)
        assert service.default_entity == "crew"
        service.create_project("by-the-service", "crew")
        assert service.viewer.teams == ["crew"]
        with pytest.raises(NotFoundError):
            _ = service.project("anything", "ann").id
        assert member.delete() is True


def test_a_service_account_needs_a_description(company: Any) -> None:
    with pytest.raises(GraphQLError, match="description"):
        company.ours("ann").team("crew").create_service_account(" ")


def test_the_key_of_a_service_account_is_in_no_repr(company: Any) -> None:
    team = company.ours("ann").team("crew")
    member = team.create_service_account("quiet")
    assert member.api_key
    assert member.api_key not in repr(member) + repr(team)
    assert member.delete()


@pytest.mark.sdk
def test_organizations_are_the_same(company: Any, sdk_home: None) -> None:
    company.server.add_user("org-only")
    company.users["inside"] = company.server.add_user("inside")
    company.server.add_team("inside-team", members=["inside"])
    company.server.add_organization("Acme Inc", teams=["inside-team"])
    questions: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({}, {"name": "Acme Inc"}),
        ({}, {}),
        ({"entity": "inside-team"}, {}),
    ]
    for overrides, arguments in questions:
        theirs = company.theirs("inside", **overrides).organization(**arguments)
        ours = company.ours("inside", **overrides).organization(**arguments)
        assert (ours.id, ours.name) == (theirs.id, theirs.name)
        assert ours.name == "Acme Inc"
        for attribute in ("id", "name", "entity_type"):
            assert getattr(ours.org_entity, attribute) == getattr(theirs.org_entity, attribute)
    for who, arguments in (("cid", {"name": "Acme Inc"}), ("cid", {}), ("inside", {"name": "nix"})):
        with pytest.raises(sdk_error()):
            company.theirs(who).organization(**arguments)
        with pytest.raises(NotFoundError):
            company.ours(who).organization(**arguments)


def test_a_user_of_several_organizations_must_say_which(company: Any) -> None:
    company.users["several"] = company.server.add_user("several")
    for name in ("One", "Two"):
        company.server.add_organization(name, members=["several"])
    with pytest.raises(UsageError, match="several organizations"):
        company.ours("several").organization()
    assert company.ours("several").organization("Two").org_entity.name == "Two-org"
    assert company.ours("several", organization="One").organization().name == "One"
