"""`journeys init`, `journeys new` and `journeys schema`: what they write is valid as it stands, and nothing is overwritten."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from journey_pipelines.cli import build_app
from journey_pipelines.commands.scaffold import NEXT
from journey_pipelines.scaffold.write import TEMPLATES, ScaffoldRefused, init, new_workflow, schema_is_current, write_schema
from journey_pipelines.workflows.load import load_project

ROOT = Path(__file__).parents[2]


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), list(words))
    return result.exit_code, result.output


def written(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project made by `init`."""
    init(tmp_path / "Our Shop")
    return tmp_path / "Our Shop"


def test_a_project_has_all_that_it_needs(shop: Path) -> None:
    assert set(written(shop)) == {
        ".env.example",
        ".gitignore",
        "README.md",
        "dagster.yaml",
        "definitions.py",
        "workflow_defs/catalogue.yaml",
        "workflow_defs/hello/again.html",
        "workflow_defs/hello/hello.html",
        "workflow_defs/hello/workflow.yaml",
        "workflow_defs/policies.yaml",
        "workflow_defs/schema.json",
        "workflow_defs/segments/regulars.yaml",
        "workspace.yaml",
    }
    assert "PROJECT_NAME" not in "".join(written(shop).values())
    assert YAML(typ="safe").load(shop / "workspace.yaml")["load_from"][0]["python_file"]["location_name"] == "our_shop"


def test_a_new_project_has_neither_errors_nor_warnings(shop: Path) -> None:
    project = load_project(shop / "workflow_defs")
    assert [str(problem) for problem in project.problems] == []
    assert [loaded.workflow.id for loaded in project.workflows] == ["hello"] and list(project.segments) == ["regulars"]
    assert schema_is_current(shop / "workflow_defs")


def test_its_files_tell_editors_where_the_schema_is(shop: Path) -> None:
    for path in sorted((shop / "workflow_defs").rglob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        assert (path.parent / first.split("$schema=")[1].split("#")[0]).is_file()


def test_its_dagster_instance_differs_from_ours_in_the_storage_alone(shop: Path) -> None:
    ours, theirs = YAML(typ="safe").load(ROOT / "dagster.yaml"), YAML(typ="safe").load(shop / "dagster.yaml")
    assert {**theirs, "storage": ours["storage"]} == ours


def test_its_settings_are_ours(shop: Path) -> None:
    from journey_pipelines.settings import Settings

    known = {str(field.validation_alias) for field in Settings.model_fields.values()} | {"JOURNEYS_DAGSTER_URL"}
    lines = (shop / ".env.example").read_text(encoding="utf-8").splitlines()
    named = {line.lstrip("# ").split("=")[0] for line in lines if "=" in line and line.lstrip("# ").split("=")[0].isupper()}
    assert named and named <= known


def test_the_command_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run("init", "shop")
    assert (code, [line.strip() for line in said.splitlines()[1:]]) == (0, ["cd shop", *NEXT])
    monkeypatch.chdir(tmp_path / "shop")
    code, said = run("init")
    assert code == 1 and "nothing was written, because something is in the way: README.md" in said


def test_a_project_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text("mine\n", encoding="utf-8")
    with pytest.raises(ScaffoldRefused, match=r"in the way: .*workspace\.yaml; take another folder"):
        init(tmp_path)
    assert written(tmp_path) == {"workspace.yaml": "mine\n"}


def test_a_folder_with_other_files_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine\n", encoding="utf-8")
    init(tmp_path)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine\n"


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file", encoding="utf-8")
    with pytest.raises(ScaffoldRefused, match="cannot be written"):
        init(tmp_path / "shop" / "inner")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_workflow_has_neither_errors_nor_warnings(shop: Path, template: str) -> None:
    new_workflow(shop / "workflow_defs", "our_own", template)
    project = load_project(shop / "workflow_defs")
    assert [str(problem) for problem in project.problems] == []
    workflow = project.workflow("our_own")
    assert workflow is not None
    assert (workflow.workflow.name, workflow.workflow.status) == ("Our own", "draft")


def test_a_new_workflow_stands_in_any_project(tmp_path: Path) -> None:
    for template in TEMPLATES:
        new_workflow(tmp_path, f"my_{template}", template)
    assert [str(problem) for problem in load_project(tmp_path).problems] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Cart Recovery", r"got 'Cart Recovery'; did you mean cart_recovery\?"),
        ("end", "and not 'end'; got 'end'$"),
        ("2nd", "got '2nd'$"),
        ("../x", r"got '\.\./x'; did you mean x\?"),
        ("", "got ''$"),
        ("x" * 64, "at most 62"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ScaffoldRefused, match=said):
        new_workflow(tmp_path, name)
    assert written(tmp_path) == {}


def test_a_workflow_overwrites_nothing(shop: Path) -> None:
    before = written(shop)
    with pytest.raises(ScaffoldRefused, match="hello is there already; take another name"):
        new_workflow(shop / "workflow_defs", "hello", "cart")
    assert written(shop) == before


def test_a_template_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScaffoldRefused, match="no template 'carts'; there are blank, welcome, cart, win_back"):
        new_workflow(tmp_path, "mine", "carts")


def test_without_a_project_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ScaffoldRefused, match="make a project with `journeys init`"):
        new_workflow(tmp_path / "nowhere", "mine")


def test_new_says_what_does_not_fit_the_project(shop: Path) -> None:
    catalogue = shop / "workflow_defs" / "catalogue.yaml"
    catalogue.write_text("events: {user_registered: {}, purchase: {}, unsubscribed: {}}\n", encoding="utf-8")
    code, said = run("new", "carts", "--template", "cart", "--project", str(shop / "workflow_defs"))
    assert code == 0
    assert "cart_updated" in said and "change it to fit, then: journeys validate" in said


def test_the_schema_command(shop: Path) -> None:
    root = shop / "workflow_defs"
    (root / "schema.json").write_text("{}", encoding="utf-8")
    code, said = run("schema", "--check", "--project", str(root))
    assert code == 1 and "is not current: run `journeys schema`" in said
    assert run("schema", "--project", str(root))[0] == 0
    assert schema_is_current(root) and run("schema", "--check", "--project", str(root))[0] == 0
    with pytest.raises(ScaffoldRefused):
        write_schema(shop / "nowhere")


def test_every_template_file_is_packaged() -> None:
    folder = Path(str(files("journey_pipelines.scaffold"))) / "files"
    hidden = [path for path in folder.rglob("*") if path.name.startswith(".")]
    assert hidden == [], "a package's data may lose files that begin with a dot"
    assert '"scaffold/files/**/*"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
