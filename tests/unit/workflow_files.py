"""Small projects on disk for the tests of the language."""

from pathlib import Path

from journey_pipelines.workflows.load import Loaded, Project, load_project

SIX_LINES = """\
workflow: hello
triggers:
  - event: user_registered
steps:
  - id: hello
    do:
      - send_email: {template: hello, subject: "Welcome, {{ customer.first_name | default('friend') }}!"}
"""


def write_project(root: Path, files: dict[str, str]) -> Path:
    """`files`: path under the project -> text."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def load_files(root: Path, files: dict[str, str]) -> Project:
    return load_project(write_project(root, files))


def load_one(root: Path, text: str, **others: str) -> Loaded:
    """The workflow `hello` of a project without errors; `others`: file name with _ for the dot -> text."""
    files = {"hello/workflow.yaml": text, "hello/hello.html": "<p>Hello</p>"}
    project = load_files(root, {**files, **{name.replace("__", "/").replace("_dot_", "."): body for name, body in others.items()}})
    assert not project.errors, "\n".join(map(str, project.errors))
    loaded = project.workflow("hello")
    assert loaded is not None
    return loaded


def messages(project: Project) -> list[str]:
    """Errors as `line: message`."""
    return [f"{problem.line}: {problem.message}" for problem in project.errors]


def workflow(steps: str = "  - id: only\n    wait: 1 day\n", *, triggers: str = "  - event: user_registered\n", head: str = "") -> str:
    """The text of a workflow `hello`: its steps, its triggers and what stands between them."""
    return f"workflow: hello\ntriggers:\n{triggers}{head}steps:\n{steps}"
