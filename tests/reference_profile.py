"""A person's profile by the book: patches by age, text trimmed, types of columns and catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from journey_pipelines.expressions import values
from journey_pipelines.expressions.environment import customer_names
from journey_pipelines.expressions.names import CUSTOMER_COLUMNS
from journey_pipelines.store import zones


class Profile:
    """Keys present are set, null and '' unset, absent keys stay; a patch older than the profile only fills what is missing."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.types = attributes
        self.values: dict[str, Any] = {}
        self.updated_at: datetime | None = None

    def patch(self, patch: Mapping[str, Any], at: datetime, *, always: bool = False) -> None:
        """`always`: a journey's own patch is never older than the profile."""
        newer = always or self.updated_at is None or at >= self.updated_at
        for key, value in patch.items():
            if newer or self.values.get(key) is None:
                self.values[key] = (value.strip(" ") or None) if isinstance(value, str) else value
        self.updated_at = max(at, self.updated_at or at)

    def add(self, amounts: Mapping[str, Any]) -> None:
        """Numbers added to what is there; what is missing counts as 0."""
        for key, amount in amounts.items():
            if values.kind_of(values.normal(amount)) == "num":
                there = values.normal(self.values.get(key))
                self.values[key] = (there if isinstance(there, Decimal) else 0) + values.normal(amount)

    @property
    def zone(self) -> str | None:
        """The zone that `timezone` names; None where it names none."""
        named = self.values.get("timezone")
        return named if named in zones.names() else None

    def names(self) -> dict[str, Any]:
        """`customer` of expressions."""
        known = {key: self.values.get(key) for key in CUSTOMER_COLUMNS}
        known["lifetime_value"] = known["lifetime_value"] if values.kind_of(values.normal(known["lifetime_value"])) == "num" else None
        known["created_at"] = values.time_of(known["created_at"])
        known["zone"] = self.zone
        attributes = {key: value for key, value in self.values.items() if key not in CUSTOMER_COLUMNS and value is not None}
        return customer_names({**known, "attributes": attributes}, self.types)

    def times(self) -> list[datetime]:
        """Every point in time that the profile holds."""
        return [at for value in self.values.values() if (at := values.time_of(value)) is not None]
