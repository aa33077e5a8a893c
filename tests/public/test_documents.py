"""Every operation is complete, named as it says, and valid for the embedded server's schema."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, build_schema, parse, validate

import wandb_ops
from wandb_ops.protocol import documents
from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind


def operations() -> dict[str, Operation]:
    found = {}
    for module in pkgutil.iter_modules(documents.__path__):
        names = vars(importlib.import_module(f"{documents.__name__}.{module.name}"))
        found |= {
            f"{module.name}.{name}": value for name, value in names.items() if isinstance(value, Operation)
        }
    return found


OPERATIONS = operations()


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    text = Path(wandb_ops.__file__).with_name("local") / "schema.graphql"
    return build_schema(text.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_is_valid_and_named_as_it_says(name: str, schema: GraphQLSchema) -> None:
    operation = OPERATIONS[name]
    document = parse(operation.text)
    assert [error.message for error in validate(schema, document)] == []
    (definition,) = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    assert definition.name is not None
    assert definition.name.value == operation.name


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_mutation_is_never_retried_like_a_query(name: str) -> None:
    operation = OPERATIONS[name]
    (definition,) = [
        each for each in parse(operation.text).definitions if isinstance(each, OperationDefinitionNode)
    ]
    assert (definition.operation.value == "query") == (operation.kind is Kind.QUERY)
