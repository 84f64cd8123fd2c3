"""A person's story as text: local times of the person's zone, one line a moment, the values a rule saw beside the rule."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from rich.text import Text

from journey_pipelines.audience.moments import Moment
from journey_pipelines.audience.person import MAX_JOURNEYS, Person
from journey_pipelines.store import zones

_STYLES = {"event": "cyan", "journey": "", "action": "", "message": "green", "goal": "bold yellow", "refused": "red"}
_BAD_STATES = ("failed", "dead", "in_doubt", "suppressed")
_WIDTH = 160


def lines(person: Person) -> Iterator[Text]:
    """The whole story, line by line."""
    zone = zones.zone(person.zone)
    yield Text(_headline(person), style="bold")
    yield Text(_profile(person))
    yield Text(
        f"zone {person.zone} ({'from the profile' if person.zone_source == 'profile' else _why_policy(person)}); times below are local"
    )
    if person.segments:
        yield Text(f"segments: {', '.join(person.segments)}")
    for consent in person.consents:
        topic = f" ({consent.topic})" if consent.topic else ""
        since = f", {_local(consent.at, zone)}" if consent.at else ""
        yield Text(
            f"consent {consent.channel}{topic}: {'yes' if consent.granted else 'no'}, {consent.why}{since}",
            style="" if consent.granted else "yellow",
        )
    yield Text()
    yield Text("Timeline", style="bold")
    if person.left_out:
        yield Text(f"  ({person.left_out:,} older events left out)", style="dim")
    several = len({moment.journey_id for moment in person.timeline if moment.workflow_id}) > 1
    entries = [moment.order[0] for moment in person.timeline if moment.kind == "journey" and moment.detail["from_step"] is None]
    for moment in person.timeline:
        text = _line(moment, zone, several)
        # of one with very many journeys not all are here
        if _asks_to_enter(moment) and moment.detail["seq"] not in entries and len(entries) < MAX_JOURNEYS:
            text.append("; began no journey: the workflow's status, entry, re-entry or limits were against it", style="yellow")
        yield text
    if not person.timeline:
        yield Text("  nothing yet", style="dim")
    if person.waiting:
        yield Text(f"  {person.waiting:,} more event(s) in the inbox, not routed yet", style="dim")
    yield Text()
    yield Text("Next", style="bold")
    for due in person.next:
        then = f", then {due.then}" if due.then else ""
        yield Text(
            f"  {_local(due.at, zone)}  {due.workflow_id} [{due.journey_id}] {due.step}: {due.what}{then}", style="dim" if due.held else ""
        )
    if not person.next:
        yield Text("  nothing is due", style="dim")


def as_json(person: Person) -> dict[str, Any]:
    """The same as plain values; times are ISO 8601 in UTC."""
    from dataclasses import asdict

    document = asdict(person)
    for moment in document["timeline"]:
        del moment["order"]
    plain: dict[str, Any] = json.loads(json.dumps(document, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


def _headline(person: Person) -> str:
    profile = person.profile
    name = " ".join(str(profile[key]) for key in ("first_name", "last_name") if key in profile)
    return f"{person.customer_id}{'  ' + name if name else ''}   {person.events:,} event{'' if person.events == 1 else 's'}"


def _profile(person: Person) -> str:
    hidden = {"first_name", "last_name", "zone", "zone_source", "attributes", "updated_at"}
    shown = {key: value for key, value in person.profile.items() if key not in hidden}
    shown.update(person.profile.get("attributes") or {})
    return "profile: " + (", ".join(f"{key} {_value(value)}" for key, value in shown.items()) or "none")


def _why_policy(person: Person) -> str:
    given = person.profile.get("timezone")
    return f"policy default: {given!r} on the profile is no zone" if given else "policy default: none on the profile"


def _line(moment: Moment, zone: ZoneInfo, several: bool) -> Text:
    words = {"event": _event, "journey": _journey, "message": _message, "action": _action, "goal": _goal, "refused": _refused}[moment.kind](
        moment, zone
    )
    where = f"{moment.workflow_id}{f' [{moment.journey_id}]' if several else ''}: " if moment.workflow_id else ""
    style = _STYLES[moment.kind]
    if moment.kind == "message" and moment.what in _BAD_STATES:
        style = "yellow"
    return Text(f"  {_local(moment.at, zone)}  {moment.kind:<8} {where}{words}", style=style)


def _asks_to_enter(moment: Moment) -> bool:
    """Of a tick, a date, a person or another workflow, which are for one workflow alone; an app's event may be for any."""
    return moment.kind == "event" and moment.what.startswith("enter.")


def _event(moment: Moment, zone: ZoneInfo) -> str:
    detail = moment.detail
    clamped = f"; the app said {_local(detail['original_occurred_at'], zone)}" if detail.get("original_occurred_at") else ""
    return f"{moment.what} {_short(detail['payload'])} (source {detail['source']}{clamped})"


def _journey(moment: Moment, zone: ZoneInfo) -> str:
    detail = moment.detail
    start, end, why = detail["from_step"], detail["to_step"], detail["why"]
    if start is None:
        words = f"entered version {detail['version']} at {end} by trigger {detail.get('trigger', '?')}"
    elif end is None:
        words = f"ended at {start}: {str(why).replace('_', ' ')}"
    elif why == "restarted":
        words = f"restarted at {end} (visit {detail['visit']})"
    else:
        came = {"event": f"{detail.get('arrived') or 'an event'} came", "timeout": "timed out", "timer": "the wait was over"}.get(
            str(why), str(why)
        )
        words = f"{start}: {came}, on to {end}"
    return words + _reason(detail)


def _reason(detail: Mapping[str, Any]) -> str:
    """The rule that decided, and what it saw."""
    rules = []
    if detail.get("rule") == "split":
        rules.append("by its split")
    elif detail.get("rule") == "else":
        rules.append("no condition was true (else)")
    elif detail.get("rule"):
        rules.append(f"because {detail['rule']}")
    if detail.get("eligibility"):
        rules.append(f"{'and' if rules else 'because'} {detail['eligibility']}")
    if detail.get("error"):
        rules.append(f"{detail['error']} ({detail.get('sqlstate')})")
    seen = ", ".join(f"{name} = {_value(value)}" for name, value in (detail.get("values") or {}).items())
    return (f"; {' '.join(rules)}" if rules else "") + (f"   [{seen}]" if seen else "")


def _message(moment: Moment, zone: ZoneInfo) -> str:
    detail = moment.detail
    action = "" if detail["action_id"].startswith("send_") else f"/{detail['action_id']}"
    words = f"{detail['channel']} {detail['step_key']}{action}: {moment.what.replace('_', ' ')}"
    if detail["accepted_at"]:
        words += f" {_local(detail['accepted_at'], zone)}" + (f" by {detail['provider']}" if detail["provider"] else "")
    elif moment.what in ("planned", "deferred", "retry"):
        words += f" for {_local(detail['send_after'], zone)}"
    if detail["reason"]:
        words += f": {detail['reason']}"
    return words + (f" ({detail['attempts']} attempts)" if detail["attempts"] > 1 else "")


def _action(moment: Moment, zone: ZoneInfo) -> str:
    detail = moment.detail
    rest = {
        key: value for key, value in detail.items() if key not in ("kind", "action_id", "step_key", "state", "reason") and value is not None
    }
    words = f"{detail['step_key']}: {moment.what} {str(detail['state']).replace('_', ' ')}"
    return words + (f": {detail['reason']}" if detail["reason"] else "") + (f"  {_short(rest)}" if rest else "")


def _goal(moment: Moment, zone: ZoneInfo) -> str:
    value = f", value {_value(moment.detail['value'])}" if moment.detail["value"] is not None else ""
    return f"goal reached by {moment.what}{value}{'' if moment.detail['exposed'] else ' (without exposure)'}"


def _refused(moment: Moment, zone: ZoneInfo) -> str:
    return f"{moment.what} was not used: {moment.detail['reason']} (source {moment.detail['source']})"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _value(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_plain)


def _local(at: datetime | None, zone: ZoneInfo) -> str:
    return "" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
