"""The draining multi-asset: events are routed, customers enter, journeys advance.

The three are one operation, because the order of one customer's life decides it: timers before an event, then the event's goals, exits
and wakes, then entries, round after round. Selecting one of them therefore runs the same drain and reports only that one.

They do not depend on the workflows' assets: every run would write two tags per workflow for it.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from journey_pipelines.assets.external import INBOX, JOURNEY_ADVANCEMENTS, JOURNEY_ENTRIES, ROUTED_EVENTS
from journey_pipelines.engine.drain import drain
from journey_pipelines.engine.reports import DrainReport
from journey_pipelines.intake.sources import poller
from journey_pipelines.resources import EngineResource

# The tables only grow, and what reads them names its day. A version per run would turn every day's report stale at every drain.
DATA_VERSION = dg.DataVersion("live")


class DrainConfig(dg.Config):
    """How long a drain works and how much it takes at once."""

    budget_seconds: float = Field(
        default=45.0, gt=0, le=75, description="The run ends after this time; what is left is the next one's. dagster/max_runtime is 90 s."
    )
    linger_seconds: float = Field(
        default=10.0,
        ge=0,
        description="The run ends when nothing was due for this time. Less means more runs, each 2-6 s late at its start.",
    )
    batch_size: int = Field(
        default=10_000,
        gt=0,
        le=50_000,
        description="Rows in one transaction. More is faster until a transaction takes longer than about 2 s.",
    )
    poll_seconds: float = Field(
        default=2.0, ge=0, description="How often declared event sources are read. Less means more queries on the apps' tables."
    )


def drain_assets() -> dg.AssetsDefinition:
    """`journeys/routed_events`, `journeys/journey_entries`, `journeys/journey_advancements`, from one drain."""

    @dg.multi_asset(
        name="journeys_drain",
        can_subset=True,
        specs=[
            dg.AssetSpec(
                ROUTED_EVENTS,
                deps=[INBOX],
                group_name="intake",
                description="Events taken from the inbox into `customer_events`, each routed once to the workflows that name its type.",
                kinds={"postgres"},
            ),
            dg.AssetSpec(
                JOURNEY_ENTRIES,
                deps=[ROUTED_EVENTS],
                group_name="engine",
                description="Journeys begun in `customer_journeys`: a trigger matched, the entry rules agreed, the admission row was free.",
                kinds={"postgres"},
            ),
            dg.AssetSpec(
                JOURNEY_ADVANCEMENTS,
                deps=[JOURNEY_ENTRIES],
                group_name="engine",
                description="Steps taken: `journey_transitions`, and the messages and actions they planned.",
                kinds={"postgres"},
            ),
        ],
    )
    def drain_journeys(
        context: dg.AssetExecutionContext, config: DrainConfig, journeys_engine: EngineResource
    ) -> Iterator[dg.MaterializeResult]:
        engine = journeys_engine.engine
        report = drain(
            engine,
            budget=config.budget_seconds,
            linger=config.linger_seconds,
            batch_size=config.batch_size,
            before_batch=poller(engine, every=config.poll_seconds),
        )
        for key, figures in headlines(report).items():
            if key in context.selected_asset_keys:
                yield dg.MaterializeResult(asset_key=key, data_version=DATA_VERSION, metadata=figures)

    return drain_journeys


def headlines(report: DrainReport) -> dict[dg.AssetKey, dict[str, int | float | str]]:
    """The figures of each asset: rows in, rows out and lag first, since the UI charts numbers in this order."""
    end: dict[str, int | float | str] = {
        "lag_seconds": round(report.lag_seconds, 3),
        "stopped_reason": report.stopped_reason,
        "batches": report.batches,
    }
    return {
        ROUTED_EVENTS: {"rows_in": report.rows_in, "rows_out": report.routed, **end, "quarantined": report.quarantined},
        JOURNEY_ENTRIES: {"rows_in": report.routed, "rows_out": report.entered, **end},
        JOURNEY_ADVANCEMENTS: {
            "rows_in": report.entered + report.advanced,
            "rows_out": report.advanced,
            **end,
            "ended": report.ended,
            "planned": report.planned,
        },
    }
