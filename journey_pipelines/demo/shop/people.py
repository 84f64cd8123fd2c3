"""The shop's customers: number n of a seed is always the same person, whichever run meets them first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

_NAMES = [
    ("Ada", "Lovelace"), ("Zoë", "Müller"), ("Bjørn", "Ångström"), ("María José", "García Núñez"), ("李", "雷"), ("Олена", "Шевченко"),
    ("Nguyễn", "Văn An"), ("Aoife", "O'Connor"), ("فاطمة", "الزهراء"), ("Łukasz", "Żak"), ("Priya", "Iyer"), ("José", "da Silva"),
    ("Grace", "Hopper"), ("Kwame", "Mensah"), ("Mbali", "Dlamini"), ("Yuki", "Tanaka"), ("Chloé", "Lefèvre"), ("D'Arcy", "Van der Berg"),
    ("Sinéad", "Ní Bhriain"), ("Tom <b>", "\"Quote\" & Co"),
]  # fmt: skip
_PLACES = [
    ("America/New_York", "US", "en"), ("America/Los_Angeles", "US", "en"), ("America/Sao_Paulo", "BR", "pt"), ("Europe/Berlin", "DE", "de"),
    ("Europe/London", "GB", "en"), ("Europe/Kyiv", "UA", "uk"), ("Africa/Lagos", "NG", "en"), ("Asia/Kolkata", "IN", "en"),
    ("Asia/Tokyo", "JP", "ja"), ("Australia/Sydney", "AU", "en"), ("Pacific/Apia", "WS", "en"),
]  # fmt: skip
INVALID_ZONE = "Mars/Olympus_Mons"
# The tenth customer has it, and then one in two hundred.
_INVALID_AT, _INVALID_EVERY = 9, 200


@dataclass(frozen=True)
class Person:
    """A customer as the shop knows them; None is a field the shop was never told."""

    number: int
    customer_id: str
    first_name: str | None
    last_name: str | None
    email_address: str | None
    phone_number: str | None
    push_token: str | None
    timezone: str | None
    country: str | None
    language: str | None
    subscription_status: str | None
    plan: str
    referrer: str | None
    lifetime_value: float = 0.0

    @property
    def consents(self) -> bool:
        """Whether marketing may be sent: the shop's one rule."""
        return self.subscription_status == "active"

    def profile(self) -> dict[str, Any]:
        """What `upsert_profile` gets: the well-known fields, nulls included, and the shop's own attributes."""
        return {
            "first_name": self.first_name, "last_name": self.last_name, "email_address": self.email_address,
            "phone_number": self.phone_number, "push_token": self.push_token, "timezone": self.timezone, "country": self.country,
            "language": self.language, "subscription_status": self.subscription_status, "lifetime_value": round(self.lifetime_value, 2),
            "plan": self.plan,
        }  # fmt: skip

    def having(self, **changes: Any) -> Person:
        return replace(self, **changes)


def person(seed: int, number: int) -> Person:
    """Customer `number` (from 0) of a seed: a fifth without consent, a third without phone, a few without name, address or zone."""
    chance = Random(f"{seed}:person:{number}")  # noqa: S311 -- a simulation, to be repeated
    first, last = chance.choice(_NAMES)
    zone, country, language = chance.choice(_PLACES)
    status = chance.choices(["active", "pending", "unsubscribed", None], [80, 8, 7, 5])[0]
    local = f"{'gone' if chance.random() < 0.01 else 'customer'}.{number:06d}"
    named, zoned = chance.random() >= 0.06, chance.random() >= 0.05
    return Person(
        number=number,
        customer_id=f"c{number:06d}",
        first_name=first if named else None,
        last_name=last if named and chance.random() >= 0.1 else None,
        email_address=f"{local}@example.org" if chance.random() >= 0.02 else None,
        phone_number=f"+1555{number % 10_000_000:07d}" if chance.random() >= 0.33 else None,
        push_token=f"push-{number:06d}" if chance.random() < 0.4 else None,
        timezone=INVALID_ZONE if number % _INVALID_EVERY == _INVALID_AT else zone if zoned else None,
        country=country,
        language=language,
        subscription_status=status,
        plan=chance.choices(["free", "silver", "gold"], [70, 20, 10])[0],
        referrer=chance.choice(["search", "friend", "newsletter", None]),
    )
