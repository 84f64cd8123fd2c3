"""tasks: what workflows asked people to do; closing one lets its journey go on."""

from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from journey_pipelines.commands.operations import ByOption, JsonOption, as_json, database, out, who


def register(app: typer.Typer) -> None:
    """Add the group."""
    tasks = typer.Typer(help="Tasks that workflows created for people: those that are open, or `close` one.", invoke_without_command=True)
    tasks.callback()(list_)
    tasks.command()(close)
    app.add_typer(tasks, name="tasks")


def list_(
    context: typer.Context,
    workflow: Annotated[str | None, typer.Option("--workflow", help="Only of this workflow.", show_default=False)] = None,
    assignee: Annotated[str | None, typer.Option("--assignee", help="Only for this person or team.", show_default=False)] = None,
    status: Annotated[Literal["open", "closed", "all"], typer.Option("--status")] = "open",
    most: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 100,
    json_: JsonOption = False,
) -> None:
    """Tasks that workflows created for people; open ones by when they are due. `journeys tasks close ID` closes one."""
    if context.invoked_subcommand is not None:
        return
    from journey_pipelines.audience.tasks import list_tasks

    with database("tasks") as (engine, now), engine.connect() as conn:
        found = list_tasks(conn, workflow_id=workflow, assignee=assignee, status=None if status == "all" else status, most=most)
    if json_:
        as_json(found)
        return
    if not found:
        out.print("no task" if status == "all" else f"no {status} task")
        return
    table = Table("task", "what", "customer", "workflow", "assignee", "due", "outcome")
    for task in found:
        due = f"{task.due_at:%Y-%m-%d %H:%M}" if task.due_at else ""
        style = "red" if task.due_at and task.status == "open" and task.due_at < now else ""
        place = f"{task.workflow_id}/{task.step_key}"
        ending = "" if task.outcome is None else f"{task.outcome} ({task.closed_by})"
        table.add_row(
            str(task.id), escape(task.title), escape(task.customer_id), place, escape(task.assignee or ""), due, escape(ending), style=style
        )
    out.print(table)


def close(
    task_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="The task's id.")],
    outcome: Annotated[str, typer.Option("--outcome", help="A word that the workflow can compare (steps.<step>.outcome).")] = "done",
    note: Annotated[str | None, typer.Option("--note", help="For people.", show_default=False)] = None,
    by: ByOption = None,
    json_: JsonOption = False,
) -> None:
    """Close a task: the event `task.done` tells its journey. A closed task cannot be opened again; closing it twice changes nothing."""
    from journey_pipelines.audience.tasks import close_task

    with database("tasks close") as (engine, now), engine.begin() as conn:
        task, closed = close_task(conn, task_id, by=who(by), now=now, outcome=outcome, note=note)
    if json_:
        as_json({"closed": closed, "task": task})
    elif closed:
        out.print(f"closed task {task.id} ({task.title}): {task.outcome}", markup=False)
    else:
        since = f"{task.closed_at:%Y-%m-%d %H:%M} UTC" if task.closed_at else "before"
        out.print(f"task {task.id} was closed {since} by {task.closed_by} as {task.outcome}; it stays so", style="yellow", markup=False)
