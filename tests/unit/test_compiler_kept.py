"""What was compiled is kept by what its arguments say, never by which objects they are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from compiled import shipped

from journey_pipelines.compiler.entry import entry_statements
from journey_pipelines.compiler.kept import kept
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.workflows.definition import Definition


def again(definition: Definition, **workflow: Any) -> Definition:
    """The same, read anew, with other values."""
    document = definition.model_dump(mode="json")
    return Definition.model_validate({**document, "workflow": {**document["workflow"], **workflow}})


def test_the_same_words_are_compiled_once_and_others_anew() -> None:
    definition = shipped().workflows[0].definition
    around = Surroundings({"name": "Alder"}, {"marketing": timedelta(days=1)}, frozenset({"a", "b"}))
    first = entry_statements(definition, 1, around)
    same = Surroundings({"name": "Alder"}, {"marketing": timedelta(days=1)}, frozenset({"b", "a"}))
    assert entry_statements(again(definition), 1, same) is first
    others = [
        entry_statements(again(definition, hold_out=0.5), 1, around),
        entry_statements(definition, 2, around),
        entry_statements(definition, 1, Surroundings({"name": "Birch"}, around.expires, around.named)),
        entry_statements(definition, 1, Surroundings(around.brand, {"marketing": timedelta(days=2)}, around.named)),
        entry_statements(definition, 1, Surroundings(around.brand, around.expires, frozenset({"a"}))),
    ]
    assert len({id(one) for one in (first, *others)}) == 6
    assert others[0].enter != first.enter


def test_values_of_other_types_are_others_and_what_cannot_be_told_apart_is_refused() -> None:
    calls: list[object] = []

    @kept
    def compiles(value: object) -> object:
        calls.append(value)
        return len(calls)

    assert [compiles(value) for value in (1, 1.0, True, "1", None, ["1"], [1], {"1": 1}, {"1": "1"})] == list(range(1, 10))
    assert (compiles({"b": 1, "a": {2, 3}}), compiles({"a": {3, 2}, "b": 1})) == (10, 10)
    with pytest.raises(TypeError, match="expected values that can be told apart, got a generator"):
        compiles(part for part in "ab")


def test_what_fails_is_tried_again() -> None:
    calls: list[str] = []

    @kept
    def compiles(text: str) -> str:
        calls.append(text)
        if len(calls) == 1:
            raise ValueError(text)
        return text

    with pytest.raises(ValueError, match="a"):
        compiles("a")
    assert compiles("a") == compiles("a") == "a" and calls == ["a", "a"]
