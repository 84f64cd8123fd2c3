"""Entering customers by hand, from the launchpad: what `journeys enter` does."""

# No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from journey_pipelines.engine import by_hand
from journey_pipelines.engine.operator import OperationRefused
from journey_pipelines.intake.chosen import read_chosen
from journey_pipelines.resources import EngineResource
from journey_pipelines.store.clock import clock_now


class EnterConfig(dg.Config):
    """Who is asked to enter which workflow. One of `customers`, `file`, `where`."""

    workflow: str = Field(description="A workflow with a `manual` trigger.")
    customers: list[str] = Field(
        default=[], description="Ids of customers. They stay in the run's config: for many, or where that matters, use a file."
    )
    file: str | None = Field(
        default=None, description="A file on the machine of the run: CSV with a column customer_id, JSON lines, or an id a line."
    )
    where: str | None = Field(default=None, description="All with a profile for whom this expression is true.")
    fields: dict[str, Any] = Field(default={}, description="event.<key> of their journeys; keys that the trigger declares.")
    dry_run: bool = Field(default=True, description="Only count. The safe default: set it to false to write the requests.")


@dg.op(description="Asks a workflow with a manual trigger to take customers in; they enter with the next drain.")
def enter_customers(context: dg.OpExecutionContext, config: EnterConfig, journeys_engine: EngineResource) -> None:
    engine = journeys_engine.engine
    if sum(map(bool, (config.customers, config.file, config.where))) != 1:
        raise dg.Failure("expected one of customers, file and where in the config")
    try:
        with engine.connect() as conn:
            request = by_hand.entering(conn, config.workflow, config.fields)
            names, now = by_hand.known_fields(conn, config.workflow), clock_now(conn)
        with engine.connect() as conn:

            def chosen() -> Iterator[by_hand.Chosen]:
                if config.where:
                    return by_hand.choose(conn, config.where, now)
                return read_chosen(Path(config.file), names) if config.file else map(by_hand.Chosen, config.customers)

            # a run that is retried keeps its id, so it asks nobody twice
            found = by_hand.preview(conn, request, chosen()) if config.dry_run else by_hand.write(
                engine, request, chosen(), context.run_id, now)  # fmt: skip
    except OperationRefused as error:
        raise dg.Failure(str(error)) from None
    figures = {
        "known": found.known,
        "in_the_workflow_now": found.inside,
        "unknown": found.unknown,
        "written": 0 if config.dry_run else found.known,
    }
    context.add_output_metadata(figures)
    context.log.info("%s", figures)
