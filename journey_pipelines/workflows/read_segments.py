"""segments/*.yaml -> `Segment`s: a file each, by a condition, by what apps write, or by a table."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.check_expressions import check_expression, warn_of_cost
from journey_pipelines.workflows.check_references import check_nesting
from journey_pipelines.workflows.fields import Fields
from journey_pipelines.workflows.known import Known
from journey_pipelines.workflows.problems import Place, Problems
from journey_pipelines.workflows.read_sources import read_table
from journey_pipelines.workflows.reading import Reading
from journey_pipelines.workflows.segments import Segment, SegmentTable
from journey_pipelines.workflows.yaml_nodes import read_yaml

SEGMENTS = "segments"
_KEYS = ("segment", "name", "description", "when", "static", "from")
_KINDS = ("when", "static", "from")
DEFAULT_EVERY = Duration.parse("15 minutes")


def segment_files(root: Path, problems: Problems) -> dict[str, Path] | None:
    """Segment id -> file; None where the project declares no segments. A file that nothing reads is reported."""
    folder = root / SEGMENTS
    if not folder.is_dir():
        return None
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_file() and path.suffix == ".yaml":
            files[path.stem] = path
        else:
            problems.error(Place(path), f"unknown file; expected a file a segment, such as {SEGMENTS}/vip.yaml")
    return files


def read_segments(files: dict[str, Path], known: Known, problems: Problems) -> dict[str, Segment]:
    """A segment with a fault is left out; `known` needs no segments but the ids."""
    found: dict[str, Segment] = {}
    uses: dict[str, set[str]] = {}
    places: dict[str, Place] = {}
    for segment_id, file in files.items():
        before = problems.errors
        node = read_yaml(file, problems)
        fields = Fields.of(node, "segment", _KEYS, problems) if node is not None else None
        if fields is None:
            continue
        if fields.need("segment", segment_id) is not None:
            written = fields.identifier("segment", "segment id")
            if written is not None and written != segment_id:
                problems.error(fields.place("segment"), f"segment: the id is '{written}' and the file {file.name}; give both one name")
        fields.what = f"segment {segment_id}"
        values: dict[str, Any] = {
            "id": segment_id,
            "name": fields.text("name") or segment_id.replace("_", " ").capitalize(),
            "description": fields.text("description", one_line=False),
            **_kind(fields, known, uses, problems),
        }
        places[segment_id] = fields.place("when")
        if problems.errors == before:
            found[segment_id] = Segment.model_validate(values)
    wrong = check_nesting(uses, places, problems)
    return {segment_id: segment for segment_id, segment in found.items() if segment_id not in wrong}


def _kind(fields: Fields, known: Known, uses: dict[str, set[str]], problems: Problems) -> dict[str, Any]:
    """`when`, `static: true` or `from`: one of them."""
    given = [key for key in _KINDS if key in fields.values]
    if len(given) != 1:
        got = f"{' and '.join(given)}; keep one" if given else "none of them; write one"
        problems.error(fields.at, f"{fields.what}: expected one of `when: EXPRESSION`, `static: true` or `from: {{table: ...}}`, got {got}")
        return {}
    if given == ["static"]:
        if not fields.boolean("static", True):
            problems.error(fields.place("static"), f"{fields.what}: 'static' expected true, got false; write `when` or `from` instead")
        return {}
    if given == ["from"]:
        return {"table": _table(fields, problems)}
    reading = Reading(problems)
    text = reading.expression(fields, "when", "condition")
    for expression in reading.expressions:
        found = check_expression(expression.node, expression.text, expression.label, "condition", known, problems)
        uses[fields.what.removeprefix("segment ")] = found.segments
        if not found.errors:
            warn_of_cost(expression.node, expression.text, expression.label, problems)
    return {"when": text}


def _table(fields: Fields, problems: Problems) -> SegmentTable | None:
    node = fields.mapping("from")
    if node is None:
        return None
    table = Fields(node, f"{fields.what}: from", ("table", "column", "every"), problems)
    name, column = read_table(table)
    every = table.duration("every", elapsed=True) if "every" in table.values else DEFAULT_EVERY
    if every and every.elapsed() < timedelta(minutes=1):
        table.wrong("every", "1 minute or more")
    return SegmentTable(table=name, column=column, every=every) if name and column and every else None
