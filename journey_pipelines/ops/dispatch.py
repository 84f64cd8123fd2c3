"""Dispatch: send what is due, and report it as a materialization of the send ledger."""

# No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.

from contextlib import ExitStack

import dagster as dg
from pydantic import Field

from journey_pipelines.assets.external import MESSAGES
from journey_pipelines.delivery.dispatch import dispatch
from journey_pipelines.delivery.report import DispatchReport
from journey_pipelines.engine.leaving import exit_predicates
from journey_pipelines.engine.policies import consent_predicates
from journey_pipelines.resources import EngineResource
from journey_pipelines.settings import settings


class DispatchConfig(dg.Config):
    """How long a dispatch works and how much it claims at once."""

    budget_seconds: float = Field(
        default=45.0, gt=0, le=75, description="The run ends after this time; what is left is the next one's. dagster/max_runtime is 90 s."
    )
    linger_seconds: float = Field(
        default=10.0,
        ge=0,
        description="The run ends when nothing was due for this time. Less means more runs, each 2-6 s late at its start.",
    )
    batch_size: int = Field(
        default=500,
        gt=0,
        le=5_000,
        description="Messages claimed at once. What a process had claimed when it died waits for its lease to end, or is in doubt.",
    )


@dg.op(description="Claims messages that are due, sends them, and records one outcome per message.")
def send_due_messages(context: dg.OpExecutionContext, config: DispatchConfig, journeys_engine: EngineResource) -> None:
    # here, because the HTTP clients take 0.6 s to import and every process of the code location would pay for them
    from journey_pipelines.delivery.channels.configure import channels_from_settings

    engine = journeys_engine.engine
    with engine.connect() as conn:
        consent, leaving = consent_predicates(conn), exit_predicates(conn)
    with ExitStack() as stack:
        channels = channels_from_settings(settings())
        for channel in channels.values():
            stack.callback(channel.close)
        report = dispatch(
            engine,
            channels,
            consent=consent,
            leaving=leaving,
            budget=config.budget_seconds,
            linger=config.linger_seconds,
            batch_size=config.batch_size,
        )
    for note in report.notes():
        context.log.info(note)
    context.log_event(dg.AssetMaterialization(asset_key=MESSAGES, metadata=headlines(report)))


def headlines(report: DispatchReport) -> dict[str, int | str]:
    """The run's figures, the headline first; suppressions reason by reason, so that each is charted."""
    figures: dict[str, int | str] = {
        "rows_in": report.claimed,
        "rows_out": report.accepted,
        "suppressed": sum(report.suppressed.values()),
        "retried": report.retried,
        "failed": report.failed,
        "in_doubt": report.in_doubt,
        "stopped_reason": report.stopped_reason,
        "postponed": report.postponed,
        "dead": report.dead,
        "rescued": report.rescued,
    }
    figures |= {f"suppressed: {reason}": count for reason, count in sorted(report.suppressed.items())}
    return figures | {f"not configured: {channel}": count for channel, count in sorted(report.not_configured.items())}
