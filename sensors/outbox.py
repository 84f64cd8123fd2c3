"""The outbox: messages that may be sent now, and sends nobody came back from."""

from __future__ import annotations

from datetime import datetime

import dagster as dg
import sqlalchemy as sa

from journey_pipelines.engine.doorbells import messages_waiting
from journey_pipelines.settings import Settings, settings
from sensors.doorbell import Job, doorbell


def outbox_sensor(job: Job, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    return doorbell(
        "outbox_doorbell",
        "Rings when the ledger holds a message that is due on a channel that is configured.",
        job,
        _messages_waiting,
        waiting="message to send",
        status=status,
        hands_over=True,
    )


def configured_channels(known: Settings) -> list[str]:
    """Channels that a dispatch with these settings would send on; webhooks need no setting."""
    urls = {"email": known.smtp_url, "sms": known.sms_url, "push": known.push_url}
    return ["webhook", *(name for name, url in urls.items() if url is not None)]


def _messages_waiting(conn: sa.Connection, now: datetime, since: datetime) -> bool:
    return messages_waiting(conn, now, configured_channels(settings()), since)
