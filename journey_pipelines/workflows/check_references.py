"""What workflows and segments name of one another over the whole project: is it there, may it be changed, does it go round in a circle."""

from __future__ import annotations

from collections.abc import Mapping

from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.workflows.known import Known
from journey_pipelines.workflows.loops import circles
from journey_pipelines.workflows.problems import Place, Problems
from journey_pipelines.workflows.reading import Reading


def check_references(reading: Reading, workflow_id: str, known: Known) -> None:
    """Segments and workflows that one workflow names outside of its expressions."""
    problems = reading.problems
    for named in reading.segments if known.segments is not None else ():
        segments = known.segments or {}
        segment = segments.get(named.id)
        if named.id not in segments:
            near = did_you_mean(named.id, segments)
            problems.error(named.at, f"{named.label}: there is no segments/{named.id}.yaml.{near}")
        elif named.changed and segment is not None and not segment.is_static:
            how = "its `when` says" if segment.when else f"{segment.table.table if segment.table else 'a table'} says"
            problems.error(named.at, f"{named.label}: {how} who is in '{named.id}', so no step can change it; name a `static: true` one")
    for target in reading.workflows:
        status = known.workflows.get(target.id)
        if status is None:
            near = did_you_mean(target.id, known.workflows)
            problems.error(target.at, f"{target.label}: there is no workflow '{target.id}'.{near}")
        elif target.action == "start_workflow" and status in ("draft", "archived"):
            problems.warn(target.at, f"{target.label}: workflow '{target.id}' is {status}, so nobody enters it")
        elif target.action == "exit_workflow" and target.id == workflow_id:
            problems.warn(target.at, f"{target.label}: ends this very journey; write `next: end`, or an `exit`")


def check_nesting(uses: Mapping[str, set[str]], places: Mapping[str, Place], problems: Problems) -> set[str]:
    """`uses`: segment -> the segments that its condition asks about. A circle has no first one to compute. Gives those in one."""
    wrong: set[str] = set()
    for circle in circles({segment: sorted(named & uses.keys()) for segment, named in uses.items()}):
        wrong |= set(circle)
        last, first = circle[-1], circle[0]
        way = " -> ".join([*circle, first])
        said = "asks about itself" if len(circle) == 1 else f"goes round in a circle ({way})"
        problems.error(places[last], f"segment {last}: 'when' {said}; take in_segment('{first}') out")
    return wrong
