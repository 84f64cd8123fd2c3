"""Operations on what runs: hold, release, holds, errors, retry, tasks, diff, enter, exit. Here is what the modules of these share."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    import sqlalchemy as sa

out = Console(soft_wrap=True, highlight=False)

JsonOption = Annotated[bool, typer.Option("--json", help="As one JSON document.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who does it; default: the system's name of you.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from journey_pipelines.commands import by_hand, changes, failures, holds, tasks

    for module in (holds, failures, tasks, changes, by_hand):
        module.register(app)


@contextmanager
def database(command: str) -> Iterator[tuple["sa.Engine", datetime]]:
    """An engine for one command, and the clock's time."""
    import sqlalchemy as sa

    from journey_pipelines.store.clock import clock_now
    from journey_pipelines.store.connect import make_engine

    engine = make_engine(application_name=f"journeys {command}", poolclass=sa.NullPool)
    with engine.connect() as conn:
        now = clock_now(conn)
    yield engine, now


def who(by: str | None) -> str:
    """The name that goes into the tables."""
    from journey_pipelines.engine.operator import one_line, operator_name

    return one_line(by, "--by", 128) if by is not None else operator_name()


def as_json(value: Any) -> None:
    """Print one JSON document; dataclasses become objects, times ISO 8601."""
    typer.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, default=lambda found: found.isoformat()))


def plain(value: Any) -> Any:
    """Dataclasses, at any depth of lists and mappings, as mappings."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def counted(n: int, word: str) -> str:
    """`1 journey`, `2,000 journeys`."""
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def listed(items: Sequence[str]) -> str:
    """Names for a sentence."""
    return ", ".join(items) if items else "none"
