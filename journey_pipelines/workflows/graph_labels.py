"""The words in a workflow's picture: triggers, waits, actions and rules in a line or two, escaped for Mermaid."""

from __future__ import annotations

from journey_pipelines.workflows.model import (
    Action,
    AfterWait,
    ConditionTrigger,
    DateTrigger,
    DateWait,
    EventTrigger,
    EventWait,
    ExitRule,
    Goal,
    ManualTrigger,
    Offset,
    ScheduleTrigger,
    SegmentTrigger,
    Trigger,
    Wait,
)

_MAX_LABEL = 90


def trigger_lines(trigger: Trigger) -> list[str]:
    """What starts a journey, and on which condition."""
    lines = [_trigger(trigger)]
    if not trigger.active:
        lines[0] += " (inactive)"
    if isinstance(trigger, ScheduleTrigger):
        lines.append(f"of all for whom {trigger.audience}" if trigger.audience else "of everybody")
    if trigger.when:
        lines.append(f"when {trigger.when}")
    return lines


def _trigger(trigger: Trigger) -> str:
    match trigger:
        case EventTrigger():
            return f"event: {trigger.event}"
        case SegmentTrigger():
            return f"{'enters' if trigger.on == 'enter' else 'leaves'} segment {trigger.segment}"
        case ConditionTrigger():
            return f"becomes true: {trigger.condition}"
        case ScheduleTrigger():
            zone = "each one's own time" if trigger.timezone == "customer" else trigger.timezone
            return f"{f'schedule {trigger.cron}' if trigger.cron else f'at {trigger.at}'} ({zone})"
        case DateTrigger():
            return ("each year, " if trigger.yearly else "") + _date(trigger.date, trigger.offset, trigger.at)
        case ManualTrigger():
            return f"by hand with {', '.join(trigger.fields)}" if trigger.fields else "by hand"


def _date(date: str, offset: Offset | None, at: str | None) -> str:
    if offset is not None:
        date = f"{offset.length} {'before' if offset.before else 'after'} {date}"
    return f"{date} at {at}" if at else date


def wait_lines(wait: Wait | None) -> list[str]:
    """A wait in words."""
    match wait:
        case AfterWait():
            return ["wait " + ", ".join(part for part in (str(wait.after) if wait.after else "", _window(wait)) if part)]
        case DateWait():
            return [f"wait until {_date(wait.date, wait.offset, wait.at)}", *(["not done when gone by"] if wait.past == "skip" else [])]
        case EventWait():
            match = f" of the same {wait.match}" if wait.match else ""
            since = "since entry, " if wait.since == "entry" else ""
            when = [f"when {wait.when}"] if wait.when else []
            return [f"wait for {' or '.join(wait.events)}{match}", *when, f"{since}at most {wait.timeout}"]
    return []


def _window(wait: AfterWait) -> str:
    days = f" on {' '.join(wait.on)}" if wait.on else ""
    if wait.until:
        return f"until {wait.until}{days}"
    if wait.between:
        return f"between {wait.between[0]} and {wait.between[1]}{days}"
    if wait.best_time:
        return f"for the best time within {wait.within}"
    return f"any time{days}" if days else ""


def action_line(action: Action) -> str:
    """Its kind and the first thing that tells it from others."""
    named = ("template", "segment", "workflow", "type", "title", "text", "url")
    detail = next((action.params[name] for name in named if action.params.get(name)), None)
    what = f"{action.kind}: {detail}" if detail else action.kind
    return f"{what} (when {action.when})" if action.when else what


def goal_line(goal: Goal) -> str:
    within = f" within {goal.within}" if goal.within else ""
    return f"goal: {rule_line(goal)}{within}"


def rule_line(rule: ExitRule | Goal) -> str:
    """What a goal or an exit looks at."""
    when = f" when {rule.when}" if rule.when else ""
    if rule.segment is not None:
        return f"{'enters' if rule.on == 'enter' else 'leaves'} segment {rule.segment}{when}"
    match = f" of the same {rule.match}" if rule.match else ""
    return f"{rule.event}{match}{when}" if rule.event else when.strip()


def label(*lines: str) -> str:
    """A quoted label; Mermaid reads entities as #name; or #number; inside quotes."""
    return '"' + "<br>".join(_escaped(_shortened(line)) for line in lines) + '"'


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_LABEL else line[: _MAX_LABEL - 1] + "…"


def _escaped(text: str) -> str:
    # everything but letters, digits and a few harmless signs, so that no markdown, HTML or chart syntax is left
    return "".join(c if c.isalnum() or c in " .,:_-/%()'=+!?…@" else f"#{ord(c)};" for c in text)
