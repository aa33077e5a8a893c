"""Every public member of the real SDK's classes is there, with the same parameters, or has its row.

docs/compatibility.md says why a member or a parameter is missing; the names here are those of its rows.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import wandb_ops

pytestmark = pytest.mark.sdk
ROWS = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")

#: Class -> members that it has in the SDK and not here.
MISSING = {
    "Artifact": {"distributed_id"},
    "Table": {
        "bind_to_run",
        "captions",
        "file_is_set",
        "from_json",
        "get_media_subdir",
        "has_been_logged",
        "index_ref",
        "init_from_json",
        "is_bound",
        "path_is_reference",
        "set_fk",
        "set_pk",
        "to_data_array",
        "to_json",
        "type_mapping",
        "with_suffix",
    },
    "Image": {
        "all_boxes",
        "all_captions",
        "all_masks",
        "bind_to_run",
        "captions",
        "file_is_set",
        "from_json",
        "get_media_subdir",
        "guess_mode",
        "init_from_json",
        "is_bound",
        "path_is_reference",
        "seq_to_json",
        "to_data_array",
        "to_json",
        "type_mapping",
        "with_suffix",
    },
    "Html": {
        "bind_to_run",
        "captions",
        "file_is_set",
        "from_json",
        "get_media_subdir",
        "init_from_json",
        "inject_head",
        "is_bound",
        "path_is_reference",
        "seq_to_json",
        "to_data_array",
        "to_json",
        "type_mapping",
        "with_suffix",
    },
    "Histogram": {"from_json", "init_from_json", "to_data_array", "type_mapping", "with_suffix"},
}


def members(cls: type) -> dict[str, Any]:
    return {name: inspect.getattr_static(cls, name) for name in dir(cls) if not name.startswith("_")}


def parameters(member: Any) -> dict[str, Any]:
    """Names and defaults, in their order."""
    plain = getattr(member, "__func__", member)
    return {name: given.default for name, given in inspect.signature(plain).parameters.items()}


@pytest.mark.parametrize("name", sorted(MISSING))
def test_a_class_has_the_members_of_the_sdk(name: str) -> None:
    wandb = pytest.importorskip("wandb")
    real, mine = getattr(wandb, name), getattr(wandb_ops, name)
    there, here = members(real), members(mine)
    assert set(there) - set(here) == MISSING[name]
    assert parameters(real.__init__) == parameters(mine.__init__)
    for member, found in there.items():
        if member in MISSING[name]:
            continue
        if isinstance(found, property):
            assert isinstance(here[member], property), member
            assert (found.fset is None) == (here[member].fset is None), member
        elif callable(found):
            assert parameters(found) == parameters(here[member]), member


@pytest.mark.parametrize("name", sorted(MISSING))
def test_what_is_missing_has_its_row(name: str) -> None:
    section = ROWS.partition("## `Artifact`")[2].partition("\n## The embedded server")[0]
    for member in MISSING[name]:
        assert re.search(rf"`{member}`", section), f"{name}.{member}"
