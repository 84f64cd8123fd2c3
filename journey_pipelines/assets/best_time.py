"""The prior of `best_time` waits: learned anew each night from how people open and click."""

# No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.

import dagster as dg

from journey_pipelines.assets.external import MESSAGES, PREFIX
from journey_pipelines.engine.best_time import refresh_prior
from journey_pipelines.resources import EngineResource
from journey_pipelines.store.clock import clock_now

BEST_TIME_PRIOR = dg.AssetKey([PREFIX, "best_time_prior"])


def best_time_assets() -> dg.AssetsDefinition:
    """`journeys/best_time_prior`: 24 weights, all customers together."""

    @dg.asset(
        key=BEST_TIME_PRIOR,
        deps=[MESSAGES],
        group_name="engine",
        kinds={"postgres"},
        description="`best_time_prior`: at which local hours people open and click; a customer with little history is taken for that.",
    )
    def best_time_prior(context: dg.AssetExecutionContext, journeys_engine: EngineResource) -> dg.MaterializeResult:
        with journeys_engine.engine.begin() as conn:
            people = refresh_prior(conn, clock_now(conn))
        return dg.MaterializeResult(metadata={"people": people})

    return best_time_prior
