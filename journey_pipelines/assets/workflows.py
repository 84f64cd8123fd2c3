"""The workflows as assets, an asset each.

Its code version is the hash of its content, so that the graph shows what is edited and not deployed. Materializing deploys the project.
What deploying means is `journey_pipelines.engine.deploy`'s; what a workflow may say is `journey_pipelines.workflows`'. A workflow that
cannot be read is shown with its messages and never stops the code location from loading.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from journey_pipelines.assets.external import PREFIX, event_type_key, segment_key, source_key
from journey_pipelines.engine.deploy import DeployReport, ProjectHasErrors, WorkflowChange, deploy
from journey_pipelines.expressions import analyse
from journey_pipelines.resources import EngineResource
from journey_pipelines.store.clock import clock_now
from journey_pipelines.workflows.graph import mermaid
from journey_pipelines.workflows.load import Loaded, Project, load_project
from journey_pipelines.workflows.model import EventWait, Workflow
from journey_pipelines.workflows.problems import Problem

GROUP = "workflows"
PROJECT = dg.AssetKey([PREFIX, "project"])
CHECK = "reads_without_errors"


def workflow_key(workflow_id: str) -> dg.AssetKey:
    return dg.AssetKey([PREFIX, "workflows", workflow_id])


@dataclass(frozen=True)
class ProjectAssets:
    """What a project folder brings to a code location; `deployable`: the workflows without errors, `zone`: where its days begin and end."""

    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]
    checks: Sequence[dg.AssetChecksDefinition]
    deployable: Sequence[dg.AssetKey]
    zone: str


def project_assets(path: Path) -> ProjectAssets:
    """Reads the project at `path`, never raising for what is in it."""
    project = load_project(path)
    by_key = problems_by_asset(project, path)
    specs = [workflow_spec(loaded, by_key.get(workflow_key(loaded.workflow.id), [])) for loaded in project.workflows]
    deployable = [spec.key for spec in specs]
    broken = [broken_spec(key, problems) for key, problems in by_key.items() if key != PROJECT and key not in deployable]
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [project_spec(path, by_key.get(PROJECT, [])), *broken, *external_specs(project)]
    if specs:
        assets.append(_deploy_assets(specs, project))
    checked = [PROJECT, *deployable, *(spec.key for spec in broken)]
    return ProjectAssets(assets, [_problem_checks(checked, path)], deployable, project.policies.zone)


def workflow_spec(loaded: Loaded, problems: Sequence[Problem]) -> dg.AssetSpec:
    """The asset of a workflow: what it says about itself, its picture, and what it listens to."""
    workflow = loaded.workflow
    types, segments = listens_to(workflow)
    return dg.AssetSpec(
        workflow_key(workflow.id),
        deps=[PROJECT, *map(event_type_key, sorted(types)), *map(segment_key, sorted(segments))],
        group_name=GROUP,
        description=workflow.description or workflow.name,
        code_version=loaded.definition.content_hash(),
        tags={"journeys/category": workflow.category, "journeys/status": workflow.status},
        kinds={"yaml"},
        metadata={
            "steps": len(workflow.steps),
            "priority": workflow.priority,
            "status": workflow.status,
            "owner": workflow.owner or "",
            "journey": dg.MetadataValue.md(f"```mermaid\n{mermaid(workflow)}\n```"),
            **problem_metadata(problems),
        },
    )


def broken_spec(key: dg.AssetKey, problems: Sequence[Problem]) -> dg.AssetSpec:
    """A workflow that cannot be read: it is there, it says why, and it cannot be deployed."""
    return dg.AssetSpec(
        key,
        deps=[PROJECT],
        group_name=GROUP,
        description=f"Cannot be read, {len(problems)} problem(s): {problems[0]}",
        kinds={"yaml"},
        metadata=problem_metadata(problems),
    )


def project_spec(path: Path, problems: Sequence[Problem]) -> dg.AssetSpec:
    """The project folder: catalogue, policies and sources, which every workflow shares."""
    return dg.AssetSpec(
        PROJECT,
        group_name=GROUP,
        description=f"The project folder `{path.name}`: catalogue, policies, sources."
        + (f" Cannot be read: {problems[0]}" if problems else ""),
        kinds={"yaml"},
        metadata=problem_metadata(problems),
    )


def external_specs(project: Project) -> list[dg.AssetSpec]:
    """What the workflows listen to: event types and segments, and the sources that events are read from."""
    types: set[str] = set()
    segments: set[str] = set()
    for loaded in project.workflows:
        more_types, more_segments = listens_to(loaded.workflow)
        types |= more_types
        segments |= more_segments
    sources = project.sources
    read_from = {event_type: [source_key(name) for name, source in sources.items() if source.type == event_type] for event_type in types}
    return [
        *(
            dg.AssetSpec(
                source_key(name),
                group_name="intake",
                description=f"Event source: the table `{source.table}` of an app.",
                kinds={"postgres"},
            )
            for name, source in sorted(sources.items())
        ),
        *(
            dg.AssetSpec(event_type_key(t), deps=read_from[t], group_name="intake", description=f"Events of type `{t}`.")
            for t in sorted(types)
        ),
        *(dg.AssetSpec(segment_key(s), group_name="intake", description=f"Members of the segment `{s}`.") for s in sorted(segments)),
    ]


def listens_to(workflow: Workflow) -> tuple[set[str], set[str]]:
    """Event types and segments that the workflow names, in its triggers, waits and rules and in its expressions."""
    types, segments = set(workflow.event_types()), set()
    for text in _expressions(workflow):
        found = analyse(text)
        types |= found.event_types
        segments |= found.segments
    return types, segments


def problems_by_asset(project: Project, path: Path) -> dict[dg.AssetKey, list[Problem]]:
    """Problems under the workflow whose folder they are in, the others under the project."""
    found: dict[dg.AssetKey, list[Problem]] = {}
    for problem in project.problems:
        folder = _workflow_folder(problem.file, path)
        found.setdefault(workflow_key(folder) if folder else PROJECT, []).append(problem)
    return found


def problem_metadata(problems: Sequence[Problem]) -> dict[str, dg.MetadataValue | int]:
    """`errors` and `warnings`, and the messages where there are any."""
    counts: dict[str, dg.MetadataValue | int] = {
        "errors": sum(p.severity == "error" for p in problems),
        "warnings": sum(p.severity == "warning" for p in problems),
    }
    if problems:
        counts["problems"] = dg.MetadataValue.md("\n".join(f"- {problem}" for problem in problems))
    return counts


def _deploy_assets(specs: Sequence[dg.AssetSpec], project: Project) -> dg.AssetsDefinition:
    # not subsettable: a project is deployed as a whole, since its workflows share policies and catalogue
    @dg.multi_asset(name="journeys_deploy", specs=specs)
    def deploy_project(context: dg.AssetExecutionContext, journeys_engine: EngineResource) -> Iterator[dg.MaterializeResult]:
        engine = journeys_engine.engine
        with engine.connect() as conn:
            now = clock_now(conn)
        try:
            report = deploy(engine, project, now)
        except ProjectHasErrors as refused:
            raise dg.Failure(f"{refused}:\n" + "\n".join(map(str, refused.problems)), allow_retries=False) from None
        for grant in report.grants:
            context.log.warning("a source cannot be read; run as the owner of its table: %s", grant)
        for change in report.changes:
            if change.change != "unchanged":
                context.log.info("%s: %s, version %d, %s", change.workflow_id, change.change, change.version, change.status)
        changes = {workflow_key(change.workflow_id): change for change in report.changes}
        for spec in specs:
            yield dg.MaterializeResult(
                asset_key=spec.key, data_version=dg.DataVersion(spec.code_version or ""), metadata=_deployed(changes[spec.key], report)
            )

    return deploy_project


def _deployed(change: WorkflowChange, report: DeployReport) -> dict[str, int | str]:
    return {"version": change.version, "generation": report.generation, "change": change.change, "status": change.status}


def _problem_checks(keys: Sequence[dg.AssetKey], path: Path) -> dg.AssetChecksDefinition:
    """A check a workflow and one for the project: its files, read again when the check runs, have no error."""

    @dg.multi_asset_check(
        name="journeys_read_project",
        can_subset=True,
        specs=[dg.AssetCheckSpec(CHECK, asset=key, description="Its files have no error.", blocking=False) for key in keys],
    )
    def read_project(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        by_key = problems_by_asset(load_project(path), path)
        for check in context.selected_asset_check_keys:
            problems = by_key.get(check.asset_key, [])
            errors = [problem for problem in problems if problem.severity == "error"]
            yield dg.AssetCheckResult(
                asset_key=check.asset_key,
                check_name=CHECK,
                passed=not errors,
                description=str(errors[0]) if errors else None,
                metadata=problem_metadata(problems),
            )

    return read_project


def _expressions(workflow: Workflow) -> Iterator[str]:
    """Every condition and value of a workflow; templates are not among them, they name customers and events only."""
    goal = workflow.goal
    texts = [
        workflow.entry.when,
        workflow.entry.key,
        *(trigger.when for trigger in workflow.triggers),
        *(rule.when for rule in workflow.exit),
    ]
    if goal:
        texts += [goal.when, goal.value]
    for step in workflow.steps:
        texts += [action.when for action in step.do]
        texts += [branch.when for branch in step.next.branches or ()]
        if isinstance(step.wait, EventWait):
            texts.append(step.wait.when)
    return (text for text in texts if text)


def _workflow_folder(file: Path, project: Path) -> str | None:
    """`cart_recovery` for `<project>/cart_recovery/...`; None for the project's own files."""
    try:
        parts = file.resolve().relative_to(project.resolve()).parts
    except ValueError:
        return None
    return parts[0] if len(parts) > 1 else None
