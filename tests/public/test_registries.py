"""Registries, their collections and versions: ours beside the real SDK's, on one server."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

import wandb_ops
from wandb_ops import Api, GraphQLError, NotFoundError, UnsupportedServer, UsageError

ORGANIZATION = "Acme"
REGISTRY_ATTRIBUTES = [
    "id", "internal_id", "name", "full_name", "entity", "organization", "description", "visibility",
    "allow_all_artifact_types", "created_at", "updated_at", "path",
]  # fmt: skip
VERSION_ATTRIBUTES = [
    "id", "name", "version", "type", "entity", "project", "qualified_name", "source_name", "aliases", "tags",
    "metadata", "description", "digest", "size", "created_at", "is_link",
]  # fmt: skip


@pytest.fixture(scope="module")
def acme(company: Any) -> Any:
    """An organisation of ann and bob's team with three registries, filled by the client of ours."""
    company.server.add_organization(ORGANIZATION, teams=["crew"])
    api = company.ours("ann")
    api.create_registry("model", "organization", description="what is served")
    api.create_registry("dataset", "organization", artifact_types=["dataset"])
    api.create_registry("empty", "organization")
    run = api.create_run(run_id="maker", project="work", entity="crew")
    for number in range(3):
        artifact = wandb_ops.Artifact("weights", "model", metadata={"acc": number / 10, "n": number})
        artifact.add_bytes(f"{number}".encode(), "w.bin")
        logged = run.log_artifact(artifact, aliases=["best"] if number == 1 else [], tags=[f"t{number}"])
        logged.link("Acme-org/wandb-registry-model/classifier", aliases=["prod"] if number == 2 else [])
        if number == 0:
            logged.link("Acme-org/wandb-registry-model/baseline")
    rows = run.log_artifact(wandb_ops.Artifact("rows", "dataset"))
    rows.link("Acme-org/wandb-registry-dataset/rows")
    kind = api.artifact_collection("model", "Acme-org/wandb-registry-model/classifier")
    kind.tags = ["kept"]
    kind.save()
    return company


def names(found: Any) -> list[str]:
    return [each.name for each in found]


@pytest.mark.sdk
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"organization": ORGANIZATION},
        {"filter": {"name": {"$regex": "model"}}},
        {"filter": {"name": "model"}},
        {"filter": {"name": "wandb-registry-model"}},
        {"filter": {"name": {"$in": ["model", "dataset"]}}},
        {"filter": {"$or": [{"name": "empty"}, {"description": {"$regex": "served"}}]}},
        {"filter": {"created_at": {"$gt": "2020-01-01T00:00:00Z"}}},
        {"order": "name"},
        {"order": "-name", "per_page": 1},
        {"order": "+created_at"},
    ],
)
def test_registries_are_the_same(acme: Any, sdk_home: None, arguments: dict[str, Any]) -> None:
    theirs = list(acme.theirs("ann").registries(**arguments))
    ours = list(acme.ours("ann").registries(**arguments))
    assert names(ours) == names(theirs)
    assert ours
    for one, other in zip(ours, theirs, strict=True):
        for attribute in REGISTRY_ATTRIBUTES:
            assert getattr(one, attribute) == getattr(other, attribute), attribute
        assert one.artifact_types == list(other.artifact_types)


@pytest.mark.sdk
def test_one_registry_is_the_same(acme: Any, sdk_home: None) -> None:
    for name in ("model", "dataset"):
        theirs, ours = (api.registry(name) for api in (acme.theirs("bob"), acme.ours("bob")))
        for attribute in REGISTRY_ATTRIBUTES:
            assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
        assert names(ours.collections()) == names(theirs.collections())
        assert names(ours.versions()) == names(theirs.versions())
    for api in (acme.theirs("ann"), acme.ours("ann")):
        with pytest.raises(ValueError):
            api.registry("nix")


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("registries", "collections"),
    [
        ({}, {}),
        ({}, {"filter": {"name": "classifier", "tag": "kept"}}),
        ({"name": "dataset"}, {}),
        ({"name": {"$regex": "model"}}, {"filter": {"name": {"$regex": "^base"}}}),
        ({}, {"order": "-name"}),
        ({}, {"per_page": 1}),
        ({}, {"filter": {"tag": "nix"}}),
    ],
)
def test_collections_are_the_same(
    acme: Any, sdk_home: None, registries: dict[str, Any], collections: dict[str, Any]
) -> None:
    theirs = acme.theirs("ann").registries(filter=registries or None).collections(**collections)
    ours = acme.ours("ann").registries(filter=registries or None).collections(**collections)
    assert len(ours) == len(theirs)
    ours, theirs = list(ours), list(theirs)
    assert names(ours) == names(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for attribute in ("id", "name", "type", "entity", "project", "description", "tags", "created_at"):
            assert getattr(one, attribute) == getattr(other, attribute), attribute


CHAINS: dict[str, Callable[[Any], Any]] = {
    "all": lambda api: api.registries().versions(),
    "by alias": lambda api: api.registries().versions(filter={"alias": "prod"}),
    "by tag or alias": lambda api: api.registries(filter={"name": {"$regex": "model"}}).versions(
        filter={"$or": [{"tag": "t0"}, {"alias": "prod"}]}
    ),
    "by collection": lambda api: (
        api.registries()
        .collections(filter={"name": {"$regex": "classi"}})
        .versions(filter={"metadata.n": {"$gte": 1}})
    ),
    "by collection's tag": lambda api: api.registries().collections(filter={"tag": "kept"}).versions(),
    "small pages": lambda api: api.registries().versions(per_page=1),
    "ordered registries": lambda api: api.registries(order="name").versions(),
    "ordered collections": lambda api: api.registries().collections(order="-name").versions(),
    "both ordered": lambda api: api.registries(order="-name").collections(order="name").versions(),
    "of one registry": lambda api: api.registry("model").collections(filter={"name": "baseline"}).versions(),
    "none": lambda api: api.registries().versions(filter={"alias": "nix"}),
}


@pytest.mark.sdk
@pytest.mark.parametrize("name", sorted(CHAINS))
def test_versions_are_the_same(acme: Any, sdk_home: None, name: str) -> None:
    theirs, ours = list(CHAINS[name](acme.theirs("ann"))), list(CHAINS[name](acme.ours("ann")))
    assert names(ours) == names(theirs)
    assert bool(ours) == (name != "none")
    for one, other in zip(ours, theirs, strict=True):
        for attribute in VERSION_ATTRIBUTES:
            assert getattr(one, attribute) == getattr(other, attribute), attribute


def test_what_the_filters_find_is_what_was_linked(acme: Any) -> None:
    api = acme.ours("bob")
    assert sorted(names(api.registries())) == ["dataset", "empty", "model"]
    found = api.registries().collections(filter={"name": "classifier"}).versions(filter={"alias": "prod"})
    (version,) = found
    assert version.qualified_name == "Acme-org/wandb-registry-model/classifier:v2"
    assert version.metadata == {"acc": 0.2, "n": 2}
    assert version.source_qualified_name == "crew/work/weights:v2"


def test_a_list_goes_on_where_an_earlier_one_stopped(acme: Any) -> None:
    api = acme.ours("ann")
    for make in (
        lambda **given: api.registries(per_page=1, **given),
        lambda **given: api.registries().collections(per_page=1, **given),
        lambda **given: api.registries().versions(per_page=1, **given),
    ):
        first = make()
        begun = names(islice(first, 2))
        assert begun + names(make(start=first.cursor)) == names(make())
    with pytest.raises(UsageError, match="start="):
        api.registries(order="name").collections(start="x")


@pytest.mark.parametrize(
    "ask",
    [
        lambda api: api.registries(filter={"color": "red"}),
        lambda api: api.registries(filter={"name": {"$near": 1}}),
        lambda api: api.registries(filter=["name"]),
        lambda api: api.registries(order="size"),
        lambda api: api.registries(order="+-name"),
        lambda api: api.registries(per_page=0),
        lambda api: api.registries().collections(filter={"alias": "x"}),
        lambda api: api.registries().collections(order="tag"),
        lambda api: api.registries().versions(filter={"color": "red"}),
        lambda api: api.registries().versions(order="name"),
        lambda api: api.registry(""),
        lambda api: api.create_registry("a/b", "organization"),
        lambda api: api.create_registry("x" * 200, "organization"),
        lambda api: api.create_registry("new", "secret"),
    ],
)
def test_what_the_server_would_not_understand_is_said_before_it_is_sent(acme: Any, ask: Any) -> None:
    with pytest.raises(UsageError):
        ask(acme.ours("ann"))


def test_versions_are_only_ordered_by_the_newer_search(acme: Any) -> None:
    with pytest.raises(UnsupportedServer, match="cannot be ordered"):
        list(acme.ours("ann").registries().versions(order="-created_at"))


@pytest.mark.sdk
def test_registries_are_created_changed_and_deleted_alike(acme: Any, sdk_home: None) -> None:
    for who, api in (("theirs", acme.theirs("ann")), ("ours", acme.ours("ann"))):
        made = api.create_registry(
            f"made-{who}", "organization", organization=ORGANIZATION, artifact_types=["model"]
        )
        assert (made.name, list(made.artifact_types)) == (f"made-{who}", ["model"])
        with pytest.raises(ValueError):
            api.create_registry(f"made-{who}", "organization")
        made.description = "new words"
        made.name = f"renamed-{who}"
        made.artifact_types.append("dataset")
        made.save()
        for reader in (acme.theirs("bob"), acme.ours("bob")):
            found = reader.registry(f"renamed-{who}")
            assert found.description == "new words"
            assert sorted(found.artifact_types) == ["dataset", "model"]
            assert found.internal_id == made.internal_id
            with pytest.raises(ValueError):
                reader.registry(f"made-{who}")
        made.delete()
        assert f"renamed-{who}" not in names(acme.ours("bob").registries())


def test_a_registry_keeps_its_types(acme: Any) -> None:
    api = acme.ours("ann")
    registry = api.create_registry("typed", "organization", artifact_types=["dataset"])
    registry.artifact_types.remove("dataset")
    with pytest.raises(UsageError, match="taken away"):
        registry.save()
    registry.load()
    assert registry.artifact_types == ["dataset"]
    weights = api.artifact("crew/work/weights:v0")
    with pytest.raises(GraphQLError, match="does not take artifacts of type 'model'"):
        weights.link("Acme-org/wandb-registry-typed/weights")
    registry.allow_all_artifact_types = True
    registry.save()
    weights.link("Acme-org/wandb-registry-typed/weights")
    assert names(registry.versions()) == ["weights:v0"]
    registry.artifact_types.append("other")
    with pytest.raises(UsageError, match="every type"):
        registry.save()
    registry.load()
    registry.delete()
    with pytest.raises(NotFoundError):
        registry.load()
    assert api.artifact("crew/work/weights:v0").id == weights.id


@pytest.mark.sdk
def test_the_sdk_links_by_the_registrys_name_alone(acme: Any, sdk_home: None) -> None:
    registry = acme.ours("ann").create_registry("by-sdk", "organization")
    version = acme.theirs("ann", entity="crew").artifact("crew/work/weights:v1")
    version.link("wandb-registry-by-sdk/from-sdk", aliases=["served"])
    (found,) = registry.versions(filter={"alias": "served"})
    assert (found.id, found.name) == (version.id, "from-sdk:v0")
    assert found.source_qualified_name == "crew/work/weights:v1"
    registry.delete()


def test_a_registry_that_is_not_there_takes_no_links(acme: Any) -> None:
    with pytest.raises(GraphQLError, match="not found"):
        acme.ours("ann").artifact("crew/work/rows:v0").link("Acme-org/wandb-registry-nix/rows")


def test_restricted_registries_are_refused_by_this_server(acme: Any) -> None:
    with pytest.raises(GraphQLError, match="restricted registries are not supported"):
        acme.ours("ann").create_registry("secret", "restricted")
    with pytest.raises(NotFoundError):
        acme.ours("ann").registry("secret")


def test_a_stranger_sees_no_registry(acme: Any) -> None:
    stranger: Api = acme.ours("cid")
    for name in (ORGANIZATION, "nix"):
        with pytest.raises(NotFoundError):
            list(stranger.registries(name))
        with pytest.raises(NotFoundError):
            stranger.registry("model", name)
        with pytest.raises(NotFoundError):
            list(stranger.registries(name).versions())
    with pytest.raises(NotFoundError):
        stranger.registries()
    with pytest.raises(NotFoundError):
        stranger.artifact("Acme-org/wandb-registry-model/classifier:v2")
