"""What a webhook's receiver answered, as the event `webhook.answered` of the journey that called it.

Written once per message, in the transaction that settles it for good (accepted, failed, or dead after the last attempt), and only where
something deployed names the event. A receiver may answer anything: JSON that a jsonb column takes becomes a value that a workflow can
compare, everything else is text, cut. Our own request (its headers, its body) is never part of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from journey_pipelines.delivery.gate import IDS, NOW
from journey_pipelines.delivery.settle import Settled
from journey_pipelines.store.jsonb import storable, storable_text

MAX_TEXT = 4_096

_TELL = sa.text(
    """
    INSERT INTO journeys.event_inbox (source, source_event_id, customer_id, type, occurred_at, received_at, payload, journey_id)
    SELECT 'webhook', m.message_key, m.customer_id, 'webhook.answered', :now, :now,
           CASE WHEN octet_length(p.payload::text) <= 65536 THEN p.payload
                ELSE p.payload || jsonb_build_object('response', a.cut) END, m.journey_id
      FROM unnest(:ids, :statuses, :documents, :cuts) AS a (id, status, document, cut)
      JOIN journeys.messages m ON m.id = a.id
      JOIN journeys.deployment d ON 'webhook.answered' = ANY (d.named_events)
     CROSS JOIN LATERAL (SELECT jsonb_build_object(
           'message_key', m.message_key, 'step', m.step_key, 'action', m.action_id, 'channel', m.channel, 'workflow', m.workflow_id,
           'status', a.status, 'response', coalesce(a.document::jsonb, to_jsonb(a.cut))) AS payload) AS p
    """
).bindparams(
    NOW,
    IDS,
    sa.bindparam("statuses", type_=ARRAY(sa.Integer)),
    sa.bindparam("documents", type_=ARRAY(sa.Text)),
    sa.bindparam("cuts", type_=ARRAY(sa.Text)),
)


def tell_answers(conn: sa.Connection, now: datetime, settled: Sequence[Settled]) -> None:
    """Write the answers of those that are settled for good, in the transaction that marked them; `settled` are those that were marked."""
    told = [(one.id, one.answer) for one in settled if one.answer is not None and one.is_final]
    if not told:
        return
    given = {
        "now": now,
        "ids": [message_id for message_id, _ in told],
        "statuses": [answer.status for _, answer in told],
        "documents": [document(answer.body) for _, answer in told],
        "cuts": [cut(answer.body) for _, answer in told],
    }
    conn.execute(_TELL, given)


def document(body: bytes) -> str | None:
    """The body's text where it is JSON that a jsonb column takes (no NUL, no lone surrogate, no NaN, no giant number, at most 97
    levels); None for everything else, null too.
    """
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_refuse, parse_float=_number, parse_int=_number)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return text if value is not None and storable(value) else None


def cut(body: bytes) -> str:
    """The body as text of at most 4 kB, without what a text column cannot hold."""
    return storable_text(body.decode("utf-8", "replace")).encode()[:MAX_TEXT].decode("utf-8", "ignore")


def _refuse(name: str) -> None:
    raise ValueError(name)


def _number(text: str) -> Decimal:
    # numeric writes 1e9999 out in full
    number = Decimal(text)
    if len(text) > 1_000 or abs(number.adjusted()) > 1_000:
        raise ValueError("a number beyond all use")
    return number
