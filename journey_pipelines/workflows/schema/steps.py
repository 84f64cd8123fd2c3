"""Steps: the forms of `wait` and `next`, and the step itself. Actions are `actions`' business."""

from __future__ import annotations

from typing import Any

from journey_pipelines.workflows.schema.parts import Schema, choice, flag, list_of, mapping, ref, whole

_WEIGHT: Schema = {
    "description": "Its share in percent; the shares make 100.",
    "anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 100}, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%?\s*$"}],
}


def steps() -> dict[str, Schema]:
    """The `$defs` of this module."""
    return {
        "step": mapping(
            {
                "id": ref("id", "What `next`, `clicked()` and reports name. Needed."),
                "name": ref("line", "For people."),
                "position": mapping(
                    {"x": {"type": "number"}, "y": {"type": "number"}},
                    required=("x", "y"),
                    description="Where a drawing puts the step; it means nothing to the engine.",
                ),
                "wait": ref("wait", "Before the step does anything."),
                "do": list_of(ref("action"), "What the step does, in order.", minItems=1),
                "next": ref("next", "Where it goes on; absent: the step below, after the last step the end."),
            },
            required=("id",),
            title="Step",
            description="A step waits, does, and goes on.",
            anyOf=[{"required": [key]} for key in ("wait", "do", "next")],
        ),
        **_waits(),
        **_next(),
    }


def _waits() -> dict[str, Schema]:
    return {
        "wait": {
            "description": "A duration, a time with a window, a date of the customer, or an event.",
            "anyOf": [ref("duration"), ref("waitAfter"), ref("waitDate"), ref("waitFor")],
        },
        "waitAfter": mapping(
            {
                "after": ref("duration", "How long; absent beside a window: at once."),
                "until": ref("clock", "Then the next such local time of the customer."),
                "between": list_of(
                    ref("clock"),
                    "Then at once if inside these local times, else at the next start; an end before the start is the next day's.",
                    minItems=2,
                    maxItems=2,
                ),
                "on": ref("days", "Only on these weekdays: weekdays, weekends, a day, or a list of days."),
                "best_time": {"const": True, "description": "Then the customer's best hour, learnt from opens and clicks."},
                "within": ref("elapsed", "How far away the best hour may be: 1 hour to 7 days, default 24 hours."),
            },
            title="Wait for a time",
            description="A time, and where wanted a window in the customer's zone.",
            anyOf=[{"required": [key]} for key in ("after", "until", "between", "on", "best_time")],
            allOf=[
                {"not": {"required": ["until", "between"]}},
                {"not": {"required": ["until", "best_time"]}},
                {"not": {"required": ["between", "best_time"]}},
                {"not": {"required": ["on", "best_time"]}},
            ],
            dependentRequired={"within": ["best_time"]},
        ),
        "waitDate": mapping(
            {
                "date": ref("expression", "A date of the customer, such as customer.trial_ends."),
                "offset": ref("offset"),
                "at": ref("clock", "At this local time of that day; absent: the date's own instant."),
                "missing": ref("target", "Where a journey goes that has no such date; default end."),
                "past": {
                    "description": "What of a date that has gone by: continue (default), skip this step's `do`, or a step.",
                    "anyOf": [{"enum": ["continue", "skip"]}, ref("target")],
                },
            },
            required=("date",),
            title="Wait for a date",
            description="A date of the customer; when it changes while somebody waits, the time follows.",
        ),
        "waitFor": mapping(
            {
                "for": {
                    "description": "An event type, or a list of them.",
                    "anyOf": [ref("eventType"), list_of(ref("eventType"), minItems=1, uniqueItems=True)],
                },
                "match": ref("payloadKey"),
                "when": ref("expression", "Which events count; `arrived` is the event looked at."),
                "timeout": ref("duration", "Go on after this long in any case. Needed."),
                "since": choice(("step", "entry"), "Events after the step was reached, or after the journey was entered.", "step"),
                "any": flag("Message, webhook and task events about other journeys count, too."),
            },
            required=("for", "timeout"),
            title="Wait for an event",
            description="An event of the customer, or the timeout. `arrived` is then that event, or missing.",
        ),
    }


def _next() -> dict[str, Schema]:
    again = {
        "max_visits": whole(1, 1_000, "Go there as long as the journey has been there fewer times."),
        "then": ref("target", "Where it goes afterwards."),
    }
    both: dict[str, Any] = {"dependentRequired": {"max_visits": ["then"], "then": ["max_visits"]}}
    return {
        "next": {
            "description": "A step, `end`, a list of conditions that ends with `else`, a split, or a way back.",
            "anyOf": [ref("target"), ref("branches"), ref("split"), ref("wayBack")],
        },
        "branches": list_of(
            ref("branch"),
            "The first whose condition is true; the last one is `- else: STEP`.",
            minItems=1,
            contains={"type": "object", "required": ["else"]},
            minContains=1,
            maxContains=1,
        ),
        "branch": {
            "anyOf": [
                mapping(
                    {"when": ref("expression", "Take this way when it is true."), "to": ref("target"), **again},
                    required=("when", "to"),
                    title="Branch",
                    **both,
                ),
                mapping({"else": ref("target", "The way of everybody else."), **again}, required=("else",), title="Else", **both),
            ],
        },
        "split": mapping(
            {
                "split": {
                    "type": "object",
                    "description": "Steps (or end) with their shares; each customer keeps the first one drawn.",
                    "propertyNames": ref("target"),
                    "additionalProperties": _WEIGHT,
                    "minProperties": 2,
                    "examples": [{"gentle": 50, "urgent": 50}],
                }
            },
            required=("split",),
            title="Split",
        ),
        "wayBack": mapping(
            {"to": ref("target"), **again},
            required=("to",),
            title="Way back",
            description="A loop: to a step above, `max_visits` times, then to another one.",
            **both,
        ),
    }
