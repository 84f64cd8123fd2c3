"""A project's folder -> a `Project`: everything read, everything wrong with it found, nothing raised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from journey_pipelines.workflows.check_names import NameChecks
from journey_pipelines.workflows.check_references import check_references
from journey_pipelines.workflows.check_templates import PARTIALS, TemplateChecks
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.known import Known
from journey_pipelines.workflows.model import ExitRule, Goal, Workflow
from journey_pipelines.workflows.paths import resolve_steps
from journey_pipelines.workflows.problems import Place, Problem, Problems, nearest
from journey_pipelines.workflows.project import Catalogue, EventSource, Policies
from journey_pipelines.workflows.read_project import default_policies, read_catalogue, read_policies
from journey_pipelines.workflows.read_segments import SEGMENTS, read_segments, segment_files
from journey_pipelines.workflows.read_sources import read_sources
from journey_pipelines.workflows.read_workflow import read_workflow
from journey_pipelines.workflows.reading import Reading
from journey_pipelines.workflows.segments import Segment
from journey_pipelines.workflows.yaml_nodes import Node, read_yaml

WORKFLOW_FILE = "workflow.yaml"
_PROJECT_FILES = ("policies.yaml", "catalogue.yaml", "sources.yaml")


@dataclass(frozen=True)
class Loaded:
    """A workflow without errors: where it stands, and what a version of it holds."""

    file: Path
    definition: Definition

    @property
    def workflow(self) -> Workflow:
        return self.definition.workflow


@dataclass(frozen=True)
class Project:
    """What a folder holds. A workflow with an error is not in `workflows`; its errors are in `problems`, sorted by file and line."""

    path: Path
    workflows: list[Loaded]
    policies: Policies
    catalogue: Catalogue
    sources: dict[str, EventSource]
    # named segments, by id; those of condition triggers are the compiler's
    segments: dict[str, Segment] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "warning"]

    def workflow(self, workflow_id: str) -> Loaded | None:
        """The workflow of that id, None where there is none or it has errors."""
        return next((loaded for loaded in self.workflows if loaded.workflow.id == workflow_id), None)


def load_project(path: str | Path) -> Project:
    """Read and check a whole project; never raises for what stands in the files."""
    root, problems = Path(path), Problems()
    catalogue, policies, sources = Catalogue(), default_policies(), dict[str, EventSource]()
    if not root.is_dir():
        problems.error(Place(root), "expected the folder of a project, with a folder a workflow (hello/workflow.yaml), found none; "
                       "set JOURNEYS_PROJECT to it")  # fmt: skip
        return Project(root, [], policies, catalogue, sources, {}, list(problems))
    _check_files(root, problems)
    if (node := _optional(root / "catalogue.yaml", problems)) is not None:
        catalogue = read_catalogue(node, problems)
    folders = [folder for folder in sorted(root.iterdir()) if folder.name != SEGMENTS and (folder / WORKFLOW_FILE).is_file()]
    files = segment_files(root, problems)
    # names come before what is behind them: whatever is wrong with a file, what names it is not wrong for that
    known = Known(catalogue, {}, dict.fromkeys(files) if files is not None else None, {folder.name: "" for folder in folders})
    if (node := _optional(root / "policies.yaml", problems)) is not None:
        policies = read_policies(node, known, problems)
    if (node := _optional(root / "sources.yaml", problems)) is not None:
        sources = read_sources(node, catalogue, problems)
    known = replace(known, brand=policies.brand)
    segments = read_segments(files or {}, known, problems)
    drafts = [draft for folder in folders if (draft := _read(folder, policies.zone, problems)) is not None]
    known = replace(
        known,
        segments={**known.segments, **segments} if known.segments is not None else None,
        workflows={**known.workflows, **{draft.folder.name: draft.values["status"] for draft in drafts}},
        started=_started(drafts),
    )
    workflows = [loaded for draft in drafts if (loaded := _check(draft, known)) is not None]
    return Project(root, workflows, policies, catalogue, sources, segments, sorted(set(problems)))


def lint(path: str | Path) -> list[Problem]:
    """All errors and warnings of a project, sorted by file and line."""
    return load_project(path).problems


@dataclass(frozen=True)
class _Draft:
    """A workflow as read; what it names is not checked yet. `reading.problems` are its own."""

    folder: Path
    values: dict[str, Any]
    reading: Reading
    errors: int


def _read(folder: Path, zone: str, problems: Problems) -> _Draft | None:
    before = problems.errors
    node = read_yaml(folder / WORKFLOW_FILE, problems)
    reading = Reading(problems)
    values = read_workflow(node, folder.name, zone, reading) if node is not None else None
    return _Draft(folder, values, reading, problems.errors - before) if values is not None else None


def _started(drafts: list[_Draft]) -> dict[str, frozenset[str]]:
    """Workflow -> the payload keys that actions of the others start it with."""
    started: dict[str, frozenset[str]] = {}
    for draft in drafts:
        for target in draft.reading.workflows:
            if target.action == "start_workflow":
                started[target.id] = started.get(target.id, frozenset()) | set(target.payload)
    return started


def _check(draft: _Draft, known: Known) -> Loaded | None:
    """Check what one workflow names; None where it has an error."""
    values, reading, problems = draft.values, draft.reading, draft.reading.problems
    before = problems.errors - draft.errors
    steps = resolve_steps(reading.steps, problems)
    names = NameChecks(reading, draft.folder.name, known, _expanded(values["exit"], values["goal"]))
    names.run()
    check_references(reading, draft.folder.name, known)
    templates = TemplateChecks(reading, draft.folder, known.catalogue, known.brand)
    templates.run()
    if problems.errors > before or steps is None:
        return None
    attributes = known.catalogue.attributes
    used = {name: kind for name, kind in sorted(attributes.items()) if name in names.attributes | templates.attributes}
    workflow = Workflow.model_validate({**values, "steps": steps})
    definition = Definition(workflow=workflow, templates=dict(sorted(templates.texts.items())), catalogue=used)
    return Loaded(draft.folder / WORKFLOW_FILE, definition)


def _expanded(rules: Iterable[ExitRule], goal: Goal | None) -> list[ExitRule]:
    """The exit rules with `goal` replaced by what the goal looks at."""
    fields = ("event", "segment", "on", "match", "when")
    return [ExitRule(**{name: getattr(goal, name) for name in fields}) if rule.goal and goal else rule for rule in rules]


def _optional(file: Path, problems: Problems) -> Node | None:
    """The tree of a file that need not be there; one with nothing but comments counts as absent."""
    if not file.exists():
        return None
    return read_yaml(file, problems, may_be_empty=True)


def _check_files(root: Path, problems: Problems) -> None:
    """Files that nothing reads: a slip in a name would otherwise be silent."""
    for path in sorted(root.iterdir()):
        if path.is_file() and path.suffix in (".yaml", ".yml") and path.name not in _PROJECT_FILES:
            near = nearest(path.name, _PROJECT_FILES)
            problems.error(Place(path), f"unknown file; expected {', '.join(_PROJECT_FILES)} or a folder a workflow.{near}")
        no_workflow = path.name in (PARTIALS, SEGMENTS) or path.name.startswith((".", "_"))
        if path.is_dir() and not no_workflow and not (path / WORKFLOW_FILE).is_file():
            yamls = [other.name for other in path.iterdir() if other.suffix in (".yaml", ".yml")]
            if yamls:
                problems.error(Place(path), f"expected {WORKFLOW_FILE} in this folder, found {', '.join(sorted(yamls))}; rename it")
