"""A project's folder -> a `Project`: everything read, everything wrong with it found, nothing raised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from journey_pipelines.workflows.check_names import NameChecks
from journey_pipelines.workflows.check_templates import PARTIALS, TemplateChecks
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import ExitRule, Goal, Workflow
from journey_pipelines.workflows.paths import resolve_steps
from journey_pipelines.workflows.problems import Place, Problem, Problems, nearest
from journey_pipelines.workflows.project import Catalogue, EventSource, Policies
from journey_pipelines.workflows.read_project import default_policies, read_catalogue, read_policies
from journey_pipelines.workflows.read_sources import read_sources
from journey_pipelines.workflows.read_workflow import read_workflow
from journey_pipelines.workflows.reading import Reading
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
        return Project(root, [], policies, catalogue, sources, list(problems))
    _check_files(root, problems)
    if (node := _optional(root / "catalogue.yaml", problems)) is not None:
        catalogue = read_catalogue(node, problems)
    if (node := _optional(root / "policies.yaml", problems)) is not None:
        policies = read_policies(node, catalogue, problems)
    if (node := _optional(root / "sources.yaml", problems)) is not None:
        sources = read_sources(node, catalogue, problems)
    workflows = [
        loaded
        for folder in sorted(root.iterdir())
        if (folder / WORKFLOW_FILE).is_file() and (loaded := load_workflow(folder, catalogue, policies, problems)) is not None
    ]
    return Project(root, workflows, policies, catalogue, sources, sorted(set(problems)))


def lint(path: str | Path) -> list[Problem]:
    """All errors and warnings of a project, sorted by file and line."""
    return load_project(path).problems


def load_workflow(folder: Path, catalogue: Catalogue, policies: Policies, problems: Problems) -> Loaded | None:
    """Read and check one workflow's folder; None where it has an error."""
    file, before = folder / WORKFLOW_FILE, problems.errors
    node = read_yaml(file, problems)
    reading = Reading(problems)
    values = read_workflow(node, folder.name, reading) if node is not None else None
    if values is None:
        return None
    steps = resolve_steps(reading.steps, problems)
    names = NameChecks(reading, catalogue, policies.brand, _expanded(values["exit"], values["goal"]))
    names.run()
    templates = TemplateChecks(reading, folder, catalogue, policies.brand)
    templates.run()
    _warn(values["goal"], values["exit"], Place(file), problems)
    if problems.errors > before or steps is None:
        return None
    used = {name: kind for name, kind in sorted(catalogue.attributes.items()) if name in names.attributes | templates.attributes}
    workflow = Workflow.model_validate({**values, "steps": steps})
    return Loaded(file, Definition(workflow=workflow, templates=dict(sorted(templates.texts.items())), catalogue=used))


def _expanded(rules: Iterable[ExitRule], goal: Goal | None) -> list[ExitRule]:
    """The exit rules with `goal` replaced by the goal's own event."""
    return [ExitRule(event=goal.event, match=goal.match, when=goal.when) if rule.goal and goal else rule for rule in rules]


def _warn(goal: Goal | None, rules: tuple[ExitRule, ...], at: Place, problems: Problems) -> None:
    if goal is None:
        problems.warn(at, "no goal: reports cannot say what the workflow achieves; write `goal: {event: purchase}`")
    if not rules:
        problems.warn(at, "no exit: a customer who did what you wanted still gets every message; write `exit: [goal]`")


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
        if path.is_dir() and path.name != PARTIALS and not path.name.startswith((".", "_")) and not (path / WORKFLOW_FILE).is_file():
            yamls = [other.name for other in path.iterdir() if other.suffix in (".yaml", ".yml")]
            if yamls:
                problems.error(Place(path), f"expected {WORKFLOW_FILE} in this folder, found {', '.join(sorted(yamls))}; rename it")
