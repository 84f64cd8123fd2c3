"""catalogue.yaml, with what was seen added to what it declares: text in, text out; what stands there stays, comments too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Any, get_args

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from journey_pipelines.audience.seen import Seen, main_type
from journey_pipelines.expressions.names import CUSTOMER_COLUMNS
from journey_pipelines.workflows.project import AttributeType

_HEAD = "# What the apps write, as it was seen; a workflow that names something else is refused, with the nearest name.\n"
_FINDINGS = "# Seen, and not as declared above or not to be declared (journeys catalogue):\n"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

Kinds = Mapping[str, int]


def merged(text: str | None, seen: Seen) -> str:
    """The file's new text. `text` is the present one, None where there is no file; it has to be a valid catalogue.

    What is declared keeps its type. Fields and attributes of several types get the most frequent one; these, and what contradicts a
    declaration, are listed in comments at the end, which are written anew each time.
    """
    yaml = YAML()
    yaml.width, yaml.preserve_quotes, yaml.allow_unicode = 140, True, True
    before = _without_findings(text or _HEAD)
    document = yaml.load(before)
    findings: list[str] = []
    if document is None:
        document, head = CommentedMap(), before
    else:
        head = ""
    _add_events(document, seen, findings)
    _add_attributes(document, seen, findings)
    stream = StringIO()
    if document:
        yaml.dump(document, stream)
    body = head + stream.getvalue()
    return body.rstrip("\n") + "\n" + ("\n" + _FINDINGS + "".join(f"#   {line}\n" for line in findings) if findings else "")


def _add_events(document: CommentedMap, seen: Seen, findings: list[str]) -> None:
    if not seen.events:
        return
    events = _block(document, "events")
    for event_type, fields in sorted(seen.events.items()):
        declared = events.get(event_type)
        new: dict[str, str] = {}
        for name, kinds in sorted(fields.items()):
            findings.extend(_contradictions(f"{event_type}.{name}", kinds, (declared or {}).get(name)))
            if not _NAME.fullmatch(name):
                findings.append(f"{event_type}.{name}: not a name that expressions can use")
            elif name not in (declared or {}):
                new[name] = main_type(kinds)
        if declared is None:
            # an event without fields is written `unsubscribed:`
            events[event_type] = _flow(new) if new else None
        else:
            declared.update(new)


def _add_attributes(document: CommentedMap, seen: Seen, findings: list[str]) -> None:
    allowed = get_args(AttributeType)
    # columns are in every profile, whatever somebody put beside them
    found = {name: kinds for name, kinds in seen.attributes.items() if name not in CUSTOMER_COLUMNS}
    attributes = _block(document, "attributes") if found else {}
    for name, kinds in sorted(found.items()):
        findings.extend(_contradictions(f"attributes.{name}", kinds, attributes.get(name)))
        kind = main_type(kinds)
        if not _NAME.fullmatch(name):
            findings.append(f"attributes.{name}: not a name that expressions can use")
        elif name not in attributes and kind in allowed:
            attributes[name] = kind
        elif name not in attributes:
            findings.append(f"attributes.{name}: {kind}; an attribute is declared as {', '.join(allowed)}")
    if "attributes" in document and not document["attributes"]:
        del document["attributes"]


def _contradictions(what: str, kinds: Kinds, declared: str | None) -> Iterator[str]:
    wanted = declared or main_type(kinds)
    # a text may happen to spell a date, now and then
    fits = {"datetime": {"datetime", "date"}, "text": {"text", "date", "datetime"}}.get(wanted, {wanted})
    if kinds.keys() - fits:
        yield f"{what}: {wanted} above, seen {_spelled(kinds)}"


def _spelled(kinds: Kinds) -> str:
    total = sum(kinds.values())
    ordered: Iterable[tuple[str, int]] = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{kind} {100 * n / total:.3g} %" for kind, n in ordered)


def _block(document: CommentedMap, key: str) -> Any:
    if document.get(key) is None:
        document[key] = CommentedMap()
    return document[key]


def _flow(values: Mapping[str, str]) -> CommentedMap:
    made = CommentedMap(values)
    made.fa.set_flow_style()
    return made


def _without_findings(text: str) -> str:
    """The text without the comments of the last time."""
    start = text.find(_FINDINGS)
    if start < 0:
        return text
    rest = text[start:].splitlines(keepends=True)
    end = next((n for n, line in enumerate(rest) if not line.startswith("#")), len(rest))
    return text[:start].rstrip("\n") + "\n" + "".join(rest[end:])
