"""`goal:` and `exit:` -> `Goal` and `ExitRule`s, by an event, a segment or a condition."""

from __future__ import annotations

from typing import Any

from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.model import ExitRule, Goal
from journey_pipelines.workflows.problems import one_of
from journey_pipelines.workflows.reading import Reading, Role
from journey_pipelines.workflows.yaml_nodes import Text

_RULE = ("event", "segment", "on", "match", "when")
_GOAL = (*_RULE, "value", "within")


def read_goal(fields: Fields, reading: Reading) -> Goal | None:
    """None where there is none, or where what it looks at could not be read."""
    node = fields.get("goal")
    goal = Fields.of(node, "goal", _GOAL, reading.problems) if node is not None else None
    rule = _rule(goal, "{event: purchase}", reading) if goal is not None else None
    if goal is None:
        return None
    role: Role = "state" if rule and not rule.keys() & {"event", "segment"} else "rule"
    value, within = reading.expression(goal, "value", role), goal.duration("within", elapsed=True)
    return None if rule is None else Goal.model_validate({**rule, "value": value, "within": within})


def read_exit(fields: Fields, reading: Reading) -> tuple[ExitRule, ...]:
    """The rules in order."""
    rules: list[ExitRule] = []
    for item in fields.items("exit", "- goal"):
        if isinstance(item, Text):
            if item.written != "goal":
                reading.problems.error(item.at, f"exit: expected `goal` or a mapping with {one_of(_RULE)}, got {kind_of(item)}")
            elif "goal" not in fields.values:
                reading.problems.error(
                    item.at, "exit: 'goal' is named and the workflow has none; write `goal: {event: purchase}` or take it out"
                )
            elif any(rule.goal for rule in rules):
                reading.problems.error(item.at, "exit: 'goal' is named twice; keep one")
            else:
                rules.append(ExitRule(goal=True))
            continue
        rule = Fields.of(item, "exit", _RULE, reading.problems)
        values = _rule(rule, "{event: unsubscribed}", reading) if rule else None
        if values is not None:
            rules.append(ExitRule.model_validate(values))
    return tuple(rules)


def _rule(fields: Fields, example: str, reading: Reading) -> dict[str, Any] | None:
    """An event with `match` and `when`, a segment with `on` and `when`, or `when` alone; None where it is none of them."""
    problems, given = reading.problems, fields.values
    if "event" in given and "segment" in given:
        problems.error(fields.at, f"{fields.what}: expected either an event or a segment, got both; keep one of the two")
        return None
    if not given.keys() & {"event", "segment", "when"}:
        problems.error(fields.at, f"{fields.what}: expected an event, a segment, or `when` alone, got none of them; write `{example}`")
        return None
    for key, head in (("match", "event"), ("on", "segment")):
        if key in given and head not in given:
            problems.error(fields.place(key), f"{fields.what}: '{key}' belongs to `{head}`; take it out")
    before = problems.errors
    values: dict[str, Any] = {}
    if "event" in given:
        values["event"] = reading.event(fields.get("event"), fields, "event", "rule")
        values["match"] = fields.payload_key("match")
    elif "segment" in given:
        values["segment"] = reading.segment(fields, "segment")
        values["on"] = fields.choice("on", ("enter", "leave"), "enter")
        reading.stands_for("segment.entered" if values["on"] == "enter" else "segment.left", fields.at, "rule")
    is_state = not values
    values["when"] = reading.expression(fields, "when", "state" if is_state else "rule")
    return values if problems.errors == before else None
