"""Jobs: what runs together, in which lane, and for how long at most.

A job's tags carry its lane and its limit, never a person's data, and stay under 1 kB. What a job does belongs to its assets and ops, when
it runs to `schedules` and `sensors`.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from journey_pipelines.assets.external import JOURNEY_ADVANCEMENTS, JOURNEY_ENTRIES, ROUTED_EVENTS
from journey_pipelines.ops.dispatch import send_due_messages
from journey_pipelines.ops.enter import enter_customers
from journey_pipelines.ops.retire import HOT, LANE_TAG, retire_hot_runs

# Twice the budget of a drain: a run that is still there after it hangs
HOT_TAGS = {LANE_TAG: HOT, "dagster/max_runtime": "90"}
REPORT_TAGS = {LANE_TAG: "reports", "dagster/max_runtime": "3600"}
UPKEEP_TAGS = {LANE_TAG: "upkeep", "dagster/max_runtime": "900"}


def drain_job() -> UnresolvedAssetJobDefinition:
    """One drain, in the run's own process: 0.3 s to the first line against 7 s in a process per step."""
    return dg.define_asset_job(
        "drain_journeys",
        selection=dg.AssetSelection.assets(ROUTED_EVENTS, JOURNEY_ENTRIES, JOURNEY_ADVANCEMENTS).without_checks(),
        description="Takes events from the inbox, lets customers enter and advances journeys, until nothing is due or 45 s are over.",
        executor_def=dg.in_process_executor,
        tags=HOT_TAGS,
    )


def dispatch_job() -> dg.JobDefinition:
    """One dispatch; an op job, because what was sent cannot be materialized again."""

    @dg.job(
        name="dispatch_messages",
        description="Sends messages that are due, until none is or 45 s are over.",
        executor_def=dg.in_process_executor,
        tags=HOT_TAGS,
    )
    def dispatch_messages() -> None:
        send_due_messages()

    return dispatch_messages


def deploy_job(workflows: Sequence[dg.AssetKey]) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        "deploy_workflows",
        selection=dg.AssetSelection.assets(*workflows),
        description="Deploys the project's workflows; those that did not change stay at their version.",
        executor_def=dg.in_process_executor,
        tags=UPKEEP_TAGS,
    )


def check_job(checks: Sequence[dg.AssetChecksDefinition]) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        "check_journeys",
        selection=dg.AssetSelection.checks(*checks),
        description="Looks for duplicates, overdue work and stuck journeys.",
        executor_def=dg.in_process_executor,
        tags=UPKEEP_TAGS,
    )


def report_job(reports: Sequence[dg.AssetsDefinition]) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        "report_journeys",
        selection=dg.AssetSelection.assets(*reports),
        description="Computes the reports of a day, or of a range of days in one run.",
        executor_def=dg.in_process_executor,
        tags=REPORT_TAGS,
    )


def learn_job(learned: dg.AssetsDefinition) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        "learn_best_times",
        selection=dg.AssetSelection.assets(learned),
        description="Learns from opens and clicks at which hours people read.",
        executor_def=dg.in_process_executor,
        tags=UPKEEP_TAGS,
    )


def retire_job() -> dg.JobDefinition:
    """Deletes old runs of the hot lane."""

    @dg.job(
        name="retire_runs",
        description="Deletes finished runs of the hot lane older than three days.",
        executor_def=dg.in_process_executor,
        tags=UPKEEP_TAGS,
    )
    def retire_runs() -> None:
        retire_hot_runs()

    return retire_runs


def enter_job() -> dg.JobDefinition:
    """Customers that an operator chose, from the launchpad."""

    @dg.job(
        name="enter_journeys",
        description="Asks a workflow to take customers in, by ids, a file or an expression. Only counts them, unless told otherwise.",
        executor_def=dg.in_process_executor,
        tags=UPKEEP_TAGS,
    )
    def enter_journeys() -> None:
        enter_customers()

    return enter_journeys
