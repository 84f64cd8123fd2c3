"""What workflows share: the catalogue, the policies and the event sources, after normalisation. Stored by deploy as JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.model import Model

FieldType = Literal["text", "number", "bool", "date", "datetime", "list", "object"]
AttributeType = Literal["text", "number", "bool", "date", "datetime"]
Channel = Literal["email", "sms", "push"]


class Catalogue(Model):
    """`events`: type -> payload field -> type, None where the project declares none; `attributes`: profile attribute -> type."""

    events: dict[str, dict[str, FieldType]] | None = None
    attributes: dict[str, AttributeType] = Field(default_factory=dict)


class Retry(Model):
    """`attempts` in all for one message; the n-th retry waits `backoff` * 2 ** (n - 1), at most `max_backoff`."""

    attempts: int = 3
    backoff: Duration
    max_backoff: Duration


class Sender(Model):
    """Who a mail comes from where its action does not say: an address, or `Name <address>`."""

    from_address: str | None = None
    reply_to: str | None = None


class Expires(Model):
    """How long after its logical time a message may still be sent."""

    marketing: Duration
    transactional: Duration


class Breaker(Model):
    """A workflow's sends are held when more than `factor` times as many people enter in an hour as usual, and at least `minimum`."""

    factor: float = 10.0
    minimum: int = 500


class Policies(Model):
    """`consent`: channel -> condition over `customer`; a channel without one needs an explicit consent row for marketing.

    `brand` is what templates read as `brand.*`; `zone` is for customers whose profile names none.
    """

    consent: dict[Channel, str] = Field(default_factory=dict)
    zone: str = "UTC"
    expires: Expires
    brand: dict[str, Any] = Field(default_factory=dict)
    sender: Sender = Sender()
    retry: Retry
    breaker: Breaker = Breaker()


class EventSource(Model):
    """A table of an app that is read as events. Names are columns of `table` (`schema.name`).

    The type is either fixed (`type`) or a column (`type_column`). `cursor` is a column that grows when a row is written or changed; each
    read goes back `overlap` behind the last one, because rows commit out of order. `payload` lists the columns that become payload keys.
    """

    table: str
    id: str
    customer_id: str
    type: str | None = None
    type_column: str | None = None
    occurred_at: str
    cursor: str
    overlap: Duration
    payload: tuple[str, ...] = ()
