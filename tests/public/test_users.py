"""Users and their API keys: ours beside the real SDK's, on one server of several users."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import wandb_ops
from wandb_ops import Api, GraphQLError, NotFoundError, UsageError
from wandb_ops.public.accounts.users import User

USER_ATTRIBUTES = ["id", "name", "username", "email", "admin", "entity", "teams", "api_keys", "flags"]


@pytest.mark.sdk
@pytest.mark.parametrize("who", ["ann", "cid", "root"])
def test_the_viewer_is_the_same(company: Any, sdk_home: None, who: str) -> None:
    theirs, ours = company.theirs(who).viewer, company.ours(who).viewer
    for attribute in USER_ATTRIBUTES:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    # compatibility: repr of a user (the SDK's shows the address)
    assert (repr(ours), repr(theirs)) == (f"<User {who}>", f"<User {theirs.email}>")


@pytest.mark.sdk
@pytest.mark.parametrize("text", ["ann", "localhost", "NN", "nobody", "", "root@example.org"])
def test_users_found_are_the_same(company: Any, sdk_home: None, text: str) -> None:
    theirs, ours = company.theirs("root").users(text), company.ours("root").users(text)
    assert [user.username for user in ours] == [user.username for user in theirs]
    for one, other in zip(ours, theirs, strict=True):
        for attribute in USER_ATTRIBUTES:
            assert getattr(one, attribute) == getattr(other, attribute), attribute


@pytest.mark.sdk
@pytest.mark.parametrize("text", ["ann", "ANN@localhost", "root@example.org", "nobody"])
def test_one_user_is_the_same(company: Any, sdk_home: None, text: str) -> None:
    theirs, ours = company.theirs("root").user(text), company.ours("root").user(text)
    if theirs is None:
        assert ours is None
    else:
        assert (ours.id, ours.email, ours.teams) == (theirs.id, theirs.email, theirs.teams)


@pytest.mark.sdk
def test_part_of_a_name_is_no_user(company: Any, sdk_home: None) -> None:
    # compatibility: Api.user (the SDK's takes the first that begins so)
    assert company.theirs("root").user("an").username == "ann"
    assert company.ours("root").user("an") is None


@pytest.mark.sdk
def test_users_are_created_alike(company: Any, sdk_home: None) -> None:
    made = [
        company.theirs("root").create_user("eve-theirs@example.org", admin=True),
        company.ours("root").create_user("eve-ours@example.org", admin=True),
        company.ours("root").create_user("plain@example.org"),
    ]
    assert [(user.username, user.email, user.admin) for user in made] == [
        ("eve-theirs", "eve-theirs@example.org", True),
        ("eve-ours", "eve-ours@example.org", True),
        ("plain", "plain@example.org", False),
    ]
    assert [user.teams for user in made] == [[], [], []]
    for api in (company.theirs("ann"), company.ours("ann")):
        with pytest.raises(Exception, match="permission denied"):
            api.create_user("nobody@example.org")


def test_a_refused_user_is_an_error_of_ours(company: Any) -> None:
    api = company.ours("root")
    api.create_user("twice@example.org")
    with pytest.raises(GraphQLError, match="exists already"):
        api.create_user("twice@example.org")
    for wrong in ("no address", 3, None):
        with pytest.raises(UsageError):
            api.create_user(wrong)
    with pytest.raises(UsageError):
        api.users(None)


@pytest.mark.sdk
def test_keys_are_made_and_deleted_alike(company: Any, sdk_home: None) -> None:
    for api in (company.theirs("cid"), company.ours("cid")):
        viewer = api.viewer
        before = viewer.api_keys
        key = viewer.generate_api_key("for a test")
        assert len(key) == 40
        assert Api(overrides={"base_url": company.server.url}, api_key=key).viewer.username == "cid"
        api.flush()
        fresh = company.ours("cid").viewer
        assert len(fresh.api_keys) == len(before) + 1
        # What was returned names the key for the object that made it; its listed name does for others.
        assert viewer.delete_api_key(key) is True
        assert company.ours("cid").viewer.api_keys == before
        with pytest.raises(wandb_ops.AuthenticationError):
            _ = Api(overrides={"base_url": company.server.url}, api_key=key).viewer
        with pytest.raises(ValueError):
            viewer.delete_api_key("no such name")


def test_a_key_is_deleted_by_its_listed_name(company: Any) -> None:
    viewer = company.ours("bob").viewer
    before = viewer.api_keys
    key = viewer.generate_api_key()
    (name,) = [each for each in viewer.api_keys if each not in before]
    assert key.startswith(name.rstrip("…"))
    assert viewer.delete_api_key(name) is True
    assert viewer.api_keys == before


def test_a_key_is_only_made_by_its_own_user(company: Any) -> None:
    # compatibility: User.generate_api_key (the SDK's makes one of the user who asks)
    other = company.ours("root").user("ann")
    with pytest.raises(UsageError, match="with a key of ann"):
        other.generate_api_key()
    assert company.ours("root").user("root").generate_api_key("own")


def test_an_administrator_deletes_the_keys_of_others_and_nobody_else_does(company: Any) -> None:
    bob = company.ours("bob").viewer
    bob.generate_api_key("to go")
    seen_by_ann = company.ours("ann").user("bob")
    assert seen_by_ann.api_keys == []
    with pytest.raises(NotFoundError):
        seen_by_ann.delete_api_key(bob.api_keys[-1])
    assert company.ours("root").user("bob").delete_api_key(bob.api_keys[-1])
    assert len(bob.api_keys) == 1


def test_a_new_key_is_in_no_text_and_no_pickle(company: Any, caplog: pytest.LogCaptureFixture) -> None:
    viewer = company.ours("ann").viewer
    key = viewer.generate_api_key()
    assert key not in repr(viewer) + str(vars(viewer)) + caplog.text
    copy = pickle.loads(pickle.dumps(viewer))
    assert isinstance(copy, User)
    assert key.encode() not in pickle.dumps(viewer)
    assert viewer.delete_api_key(key)


def test_of_others_a_user_sees_who_shares_a_team(company: Any) -> None:
    assert [user.username for user in company.ours("ann").users("")] == ["ann", "bob"]
    assert company.ours("cid").user("ann") is None
    assert company.ours("ann").user("bob").teams == ["crew"], "bob's own entity is not ann's to see"


def test_the_users_own_api_has_his_key(company: Any) -> None:
    viewer = company.ours("ann").viewer
    assert viewer.user_api.viewer.username == "ann"
    assert company.ours("root").user("ann").user_api is None


def test_a_user_without_a_way_to_the_server_says_so() -> None:
    with pytest.raises(UsageError, match="take it from"):
        _ = User({"id": "x", "username": "x"}).api_keys
