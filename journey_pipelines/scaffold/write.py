"""Copies the templates into place: refuses before it writes anything, or writes all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from journey_pipelines.workflows.base import END, ID_PATTERN
from journey_pipelines.workflows.schema import FILE_NAME, MODELINES, schema_text

TEMPLATES = ("blank", "welcome", "cart", "win_back")
PROJECT_FOLDER = "workflow_defs"
# names that begin with a dot, which a package's data may lose on the way
_DOTTED = {"env.example": ".env.example", "gitignore": ".gitignore"}
_WORD = "PROJECT_NAME"
_ID, _NAME = "WORKFLOW_ID", "WORKFLOW_NAME"
_SOURCES = files("journey_pipelines.scaffold") / "files"


class ScaffoldRefused(ValueError):
    """Nothing was written: something is in the way, or a name cannot be one."""


def init(folder: Path) -> list[Path]:
    """Write a new project into `folder`, made where it is not there; returns the files. Raises ScaffoldRefused."""
    word = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_") or "journeys"
    texts = {folder / path: text.replace(_WORD, word) for path, text in _texts(_SOURCES / "project")}
    texts[folder / PROJECT_FOLDER / FILE_NAME] = schema_text()
    return _write(texts)


def new_workflow(project: Path, workflow_id: str, template: str = "blank") -> list[Path]:
    """Write a workflow's folder into a project's folder; returns the files. Raises ScaffoldRefused."""
    if not re.match(ID_PATTERN, workflow_id) or workflow_id == END:
        near = re.sub(r"[^a-z0-9]+", "_", workflow_id.lower()).strip("_")
        hint = f"; did you mean {near}?" if re.match(ID_PATTERN, near) and near not in (END, workflow_id) else ""
        raise ScaffoldRefused(
            f"a workflow's id is a lower-case letter, then at most 62 of a-z, 0-9 and _, and not '{END}'; got {workflow_id!r}{hint}"
        )
    if template not in TEMPLATES:
        raise ScaffoldRefused(f"there is no template {template!r}; there are {', '.join(TEMPLATES)}")
    if not project.is_dir():
        raise ScaffoldRefused(f"{project} is no folder; make a project with `journeys init`, or set JOURNEYS_PROJECT")
    folder = project / workflow_id
    if folder.exists():
        raise ScaffoldRefused(f"{folder} is there already; take another name, or remove it first")
    name = workflow_id.replace("_", " ").capitalize()
    found = dict(_texts(_SOURCES / "workflows" / template))
    return _write({folder / path: text.replace(_ID, workflow_id).replace(_NAME, name) for path, text in found.items()})


def write_schema(project: Path) -> Path:
    """Write schema.json into a project's folder, over an older one. Raises ScaffoldRefused."""
    if not project.is_dir():
        raise ScaffoldRefused(f"{project} is no folder; make a project with `journeys init`, or set JOURNEYS_PROJECT")
    path = project / FILE_NAME
    path.write_text(schema_text(), encoding="utf-8")
    return path


def schema_is_current(project: Path) -> bool:
    """Whether the project's schema.json is what `write_schema` would write."""
    path = project / FILE_NAME
    return path.is_file() and path.read_text(encoding="utf-8") == schema_text()


def _texts(folder: Traversable) -> Iterator[tuple[Path, str]]:
    """Path below the folder -> text, with the line by which an editor finds the schema."""
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from ((Path(item.name) / path, text) for path, text in _texts(item) if item.name != "__pycache__")
        else:
            modeline = MODELINES.get("segments" if folder.name == "segments" else item.name)
            text = item.read_text(encoding="utf-8")
            yield Path(_DOTTED.get(item.name, item.name)), f"{modeline}\n{text}" if modeline else text


def _write(texts: dict[Path, str]) -> list[Path]:
    in_the_way = [path for path in texts if path.exists()]
    if in_the_way:
        names = ", ".join(str(path) for path in in_the_way[:5]) + (" ..." if len(in_the_way) > 5 else "")
        raise ScaffoldRefused(f"nothing was written, because something is in the way: {names}; take another folder, or remove them first")
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise ScaffoldRefused(f"{error.filename or ''}: cannot be written: {error.strerror or error}") from None
    return list(texts)
