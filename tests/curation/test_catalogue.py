from __future__ import annotations

import pickle
from typing import Any

import pytest

from belle.curation import catalogue
from belle.curation.catalogue import read_steps
from belle.curation.steps import Context, Limits
from belle.errors import BelleError

OWN = {
    "filter": {"too_short": "own_steps:too_short", "forbidden": "own_steps:Forbidden"},
    "edit": {"single_spaces": "own_steps:single_spaces"},
    "score": {"length": "own_steps:Length", "script": "own_steps:Script"},
    "set step": {"same_text": "own_steps:SameText", "longest": "own_steps:Longest"},
}


@pytest.fixture(autouse=True)
def own_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue with the steps of own_steps.py alone."""
    import own_steps

    for kind, table in OWN.items():
        name = f"TABLE_{kind.replace(' ', '_')}"
        monkeypatch.setattr(own_steps, name, table, raising=False)
        monkeypatch.setitem(catalogue.TABLES, kind, f"own_steps:{name}")


def mistakes(*entries: Any) -> list[str]:
    with pytest.raises(BelleError) as caught:
        read_steps(entries)
    return caught.value.message.split("\n")


def test_an_entry_is_a_name_or_a_name_with_options() -> None:
    specs = read_steps(["single_spaces", {"too_short": {"least": 8}}, {"script": None}, {"length": {"scale": 2}}])
    assert [(s.number, s.label, s.kind, dict(s.options), s.alone) for s in specs] == [
        (1, "single_spaces", "edit", {}, False), (2, "too_short", "filter", {"least": 8}, False),
        (3, "script", "score", {}, True), (4, "length", "score", {"scale": 2.0}, False),
    ]  # fmt: skip


def test_every_mistake_is_told_at_once_by_its_key() -> None:
    found = mistakes(
        "too_shrot", {"too_short": {"laest": 3}}, {"too_short": {"least": "many"}}, {"longest": {}}, {"a": 1, "b": 2}, 7,
        {"single_spaces": {"x": 1}}, {"too_short": 3},
    )  # fmt: skip
    assert found == [
        "steps[0].too_shrot: unknown step. Did you mean 'too_short'?",
        "steps[1].too_short.laest: unknown option. Did you mean 'least'?",
        "steps[2].too_short.least: should be a valid integer, unable to parse string as an integer (given: 'many')",
        "steps[3].longest.most: required, and missing",
        "steps[4]: a step is a name, or one name with its options under it (given: {'a': 1, 'b': 2})",
        "steps[5]: a step is a name, or one name with its options under it (given: 7)",
        "steps[6].single_spaces.x: unknown option. It has no options",
        "steps[7].too_short: the options of a step are keys under its name (given: 3)",
    ]


def test_ranges_and_flags_are_checked() -> None:
    assert mistakes({"length": {"scale": 0}}) == ["steps[0].length.scale: should be greater than 0 (given: 0)"]
    assert mistakes({"too_short": {"least": True}}) == [
        "steps[0].too_short.least: true is neither a number nor a text (given: True)"
    ]
    assert "finite" in mistakes({"length": {"scale": float("nan")}})[0]


def test_a_step_may_refuse_its_options() -> None:
    assert mistakes({"forbidden": {"words": ["a", ""]}}) == [
        "steps[0].forbidden: the empty word is in every text (take it out of words)"
    ]


def test_a_score_takes_limits_and_a_filter_does_not() -> None:
    specs = read_steps([{"length": {"at_least": 3, "at_most": 9}}, {"script": {"only": ["zh"]}}])
    assert [s.limits for s in specs] == [Limits(3.0, 9.0), Limits(only=("zh",))]
    assert mistakes({"too_short": {"at_least": 3}}) == ["steps[0].too_short.at_least: unknown option. Did you mean 'least'?"]
    assert "one of the two" in mistakes({"length": {"at_least": 3, "only": ["zh"]}})[0]


def test_a_set_step_needs_its_score_before_it() -> None:
    wrong = mistakes({"longest": {"most": 3, "score": "length"}}, "length")
    assert wrong == ["steps[0].longest: needs the score 'length' of a step before it; before it stand: none"]
    assert len(read_steps(["length", {"longest": {"most": 3, "score": "length"}}])) == 2


def test_a_score_cannot_be_made_twice() -> None:
    assert mistakes("length", "length") == ["steps[1].length: scored twice, first at steps[0]"]


def test_a_name_twice_gets_its_number() -> None:
    assert [s.label for s in read_steps(["too_short", "single_spaces", "too_short"])] == [
        "too_short (step 1)", "single_spaces", "too_short (step 3)",
    ]  # fmt: skip


def test_the_recipes_seed_is_for_steps_without_their_own() -> None:
    assert [s.options["seed"] for s in read_steps(["same_text", {"same_text": {"seed": 2}}], seed=5)] == [5, 2]


def test_a_step_of_ones_own_is_named_by_module() -> None:
    specs = read_steps([{"own_steps:too_short": {"least": 2}}, "own_steps:Length", "own_steps:SameText"])
    assert [(s.kind, s.own) for s in specs] == [("filter", True), ("score", True), ("set step", True)]
    assert "cannot be imported" in mistakes("own_steps:nothing")[0]
    assert "cannot be imported" in mistakes("no_such_package:step")[0]
    assert "is no function or class" in mistakes("own_steps:__name__")[0]


def test_a_spec_travels_and_builds_its_step() -> None:
    spec = pickle.loads(pickle.dumps(read_steps([{"same_text": {"seed": 3}}])[0]))
    context = Context(variables={"KEY": "secret"})
    step = spec.build(context)
    assert (step.seed, step.context) == (3, context)
    assert "secret" not in repr(context), "a key must not reach a log"
