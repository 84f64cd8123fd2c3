"""workflow.yaml: the top level, triggers, entry, goal and exit."""

from __future__ import annotations

from journey_pipelines.workflows.schema.parts import Schema, choice, flag, form, list_of, mapping, ref, whole

_ON = choice(("enter", "leave"), "Whether the customer comes into the segment or leaves it.", "enter")


def workflow() -> dict[str, Schema]:
    """The `$defs` of this module."""
    return {"workflow": _workflow(), **_triggers(), **_entry(), **_rules()}


def _workflow() -> Schema:
    moment = form(
        r"^\s*\d{4}-\d{1,2}-\d{1,2}( \d{1,2}:\d{1,2})?\s*$",
        "expected a day such as 2026-01-01, or a day and a time such as 2026-01-01 09:00",
        "",
        ["2026-01-01", "2026-12-31 18:00"],
    )
    return mapping(
        {
            "workflow": ref("id", "The id, equal to the folder's name."),
            "name": ref("line", "For people and reports; default: the id in words."),
            "description": ref("text", "For people."),
            "owner": ref("line", "Who looks after it."),
            "tags": list_of({"type": ["string", "number", "boolean"]}, "For people and reports.", examples=[["revenue", "cart"]]),
            "status": choice(
                ("draft", "active", "paused", "archived"),
                "draft: nobody enters, messages wait. paused: nobody enters or goes on. archived: nobody enters, who is in it goes on.",
                "active",
            ),
            "priority": whole(-1000, 1000, "Of the messages that are due, those of the higher priority go first.", default=0),
            "category": choice(
                ("marketing", "transactional"), "marketing needs consent, transactional does not: a matter of law.", "marketing"
            ),
            "topic": ref("id", "What a person can opt out of without opting out of everything."),
            "runs": mapping(
                {
                    "from": {**moment, "description": "Nobody enters before; in the policies' zone."},
                    "until": {**moment, "description": "Nobody enters after; a day counts whole."},
                },
                description="When it takes people in.",
                minProperties=1,
            ),
            "limits": mapping(
                {
                    "in_flight": whole(1, 1_000_000_000, "At most so many active journeys."),
                    "entries": ref("rate", "At most so many entries, such as 5000/hour."),
                    "sends": ref("rate", "At most so many messages, such as 2000/hour."),
                },
                description="How much at once.",
                minProperties=1,
            ),
            "max_age": ref("elapsed", "A journey older than this ends as expired."),
            "in_flight": choice(("stay", "exit"), "At a new version, who is under way stays on the old one or leaves.", "stay"),
            "on_resume": choice(
                ("reschedule", "skip"), "After a pause or a hold: overdue steps spread over time, or without their `do`.", "reschedule"
            ),
            "triggers": list_of(ref("trigger"), "What lets people enter.", minItems=1),
            "entry": ref("entry"),
            "hold_out": form(
                r"^\s*\d{1,2}(\.\d+)?\s*%\s*$",
                "expected a percentage below 100%, such as 10%",
                "Share of the entrants that gets nothing: the control group.",
                ["10%"],
            ),
            "goal": ref("goal"),
            "exit": list_of(ref("exit"), "When it is over; the first rule that holds ends the journey."),
            "steps": list_of(ref("step"), "The way; the first is the start.", minItems=1),
        },
        required=("workflow", "triggers", "steps"),
        title="Workflow",
        description="A customer journey: what lets people in, the steps, what it is for and when it is over.",
    )  # fmt: skip


def _triggers() -> dict[str, Schema]:
    common: dict[str, Schema] = {
        "id": ref("id", "Named in journey.trigger and reports; default: the event, the segment, or the kind."),
        "name": ref("line", "For people."),
        "when": ref("expression", "A condition over the event and the customer."),
        "active": flag("false switches the trigger off.", default=True),
    }
    ticks: dict[str, Schema] = {
        "timezone": {"type": "string", "minLength": 1, "description": "A zone, or `customer` for each one's own; default: the policies'.",
                     "examples": ["customer", "Europe/Berlin"]},
        "audience": ref("expression", "Who enters at a tick; absent: everybody."),
        "catchup": choice(("none", "last"), "What of ticks that were missed by more than an hour: none, or the last one.", "none"),
    }  # fmt: skip
    forms = {
        "triggerEvent": mapping(
            {"event": ref("eventType"), **common}, required=("event",), title="Event", description="An event of this type arrives."
        ),
        "triggerSegment": mapping(
            {"segment": ref("id", "The segment."), "on": _ON, **common},
            required=("segment",),
            title="Segment",
            description="Somebody comes into a segment, or leaves it.",
        ),
        "triggerCondition": mapping(
            {"condition": ref("expression", "Somebody for whom this becomes true enters."), **common},
            required=("condition",),
            title="Condition",
            description="An unnamed segment: a condition becomes true.",
        ),
        "triggerSchedule": mapping(
            {
                "schedule": form(
                    r"^\s*\S+(\s+\S+){4}\s*$",
                    "expected five fields of cron, such as '0 9 * * mon'",
                    "Cron: minute, hour, day of the month, month, day of the week.",
                    ["0 9 * * mon", "30 8 1 * *"],
                ),
                **ticks,
                **common,
            },
            required=("schedule",),
            title="Schedule",
            description="Again and again; each tick enters its audience once.",
        ),
        "triggerAt": mapping(
            {
                "at": form(
                    r"^\s*\d{4}-\d{1,2}-\d{1,2} \d{1,2}:\d{1,2}\s*$",
                    "expected a day and a time, such as '2026-11-27 09:00'",
                    "Once, at this local time.",
                    ["2026-11-27 09:00"],
                ),
                **ticks,
                **common,
            },
            required=("at",),
            title="Once",
            description="One tick, at a fixed time.",
        ),
        "triggerDate": mapping(
            {
                "date": ref("expression", "A date of the customer, such as customer.birthday."),
                "offset": ref("offset"),
                "at": ref("clock", "At this local time of that day; absent: the date's own instant."),
                "yearly": flag("Every year on that day; 29 February is the 28th where there is none."),
                **common,
            },
            required=("date",),
            title="Date",
            description="A date of the customer; when it changes, so does the plan.",
        ),
        "triggerManual": mapping(
            {
                "manual": {"const": True, "description": "By `journeys enter`."},
                "fields": list_of(ref("payloadKey", "A key of the payload."), "What `journeys enter` may be given.", uniqueItems=True),
                **common,
            },
            required=("manual",),
            title="Manual",
            description="By hand.",
        ),
    }
    trigger = {"description": "What lets people enter.", "anyOf": [ref(name) for name in forms]}
    return {"trigger": trigger, **forms}


def _entry() -> dict[str, Schema]:
    reentry = mapping(
        {
            "after": ref("elapsed", "How long after the last journey."),
            "of": choice(("exit", "entry"), "Counted from its end, or from its beginning.", "exit"),
            "max": whole(1, 1_000_000, "At most so many journeys in all."),
        },
        required=("after",),
        title="After a time",
    )
    return {
        "entry": mapping(
            {
                "when": ref("expression", "Eligibility, asked for every trigger."),
                "key": ref("expression", "One journey per what, such as event.cart_id; default: one per customer."),
                "reentry": {
                    "description": "Who may enter again.",
                    "default": "after exit",
                    "anyOf": [{"enum": ["never", "after exit", "always"]}, reentry],
                },
                "while_active": choice(
                    ("ignore", "refresh", "restart"),
                    "What a trigger does to a journey under way: nothing, take the new payload, or go back to the first step.",
                    "ignore",
                ),
                "max_lateness": ref("elapsed", "An event received later than this after it occurred is history; default 1 day."),
                "existing": choice(("ignore", "enter"), "Whether those who are in a trigger's segment at activation enter.", "ignore"),
            },
            title="Entry",
            description="Who may enter, how often, and what happens to those already in it.",
        )
    }


def _rules() -> dict[str, Schema]:
    event: dict[str, Schema] = {
        "event": ref("eventType"),
        "match": ref("payloadKey"),
        "when": ref("expression", "Which events count; `arrived` is the event looked at."),
    }
    segment: dict[str, Schema] = {"segment": ref("id", "The segment."), "on": _ON, "when": event["when"]}
    condition: dict[str, Schema] = {"when": ref("expression", "A condition over the customer; it counts when it becomes true.")}
    counted: dict[str, Schema] = {
        "value": ref("expression", "A number, such as arrived.total."),
        "within": ref("elapsed", "Counted until so long after entry, also when the journey has ended; absent: for ever."),
    }
    return {
        "goal": {
            "description": "What the workflow is for: an event, a segment, or a condition.",
            "anyOf": [
                mapping({**event, **counted}, required=("event",), title="Event"),
                mapping({**segment, **counted}, required=("segment",), title="Segment"),
                mapping({**condition, **counted}, required=("when",), title="Condition"),
            ],
        },
        "exit": {
            "description": "`goal`, an event, a segment, or a condition.",
            "anyOf": [
                {"const": "goal", "description": "The goal ends the journey."},
                mapping(event, required=("event",), title="Event"),
                mapping(segment, required=("segment",), title="Segment"),
                mapping(condition, required=("when",), title="Condition"),
            ],
        },
    }
