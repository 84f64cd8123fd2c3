"""From the columns of a row to an event: the options of `import-events` and `replay`, compiled once.

Everything that PostgreSQL would refuse (NUL, lone surrogates, NaN, ids too long, times out of range) is refused here, row by row and with a
reason, because one such value fails a whole COPY.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from journey_pipelines.intake.errors import TemplateProblem
from journey_pipelines.intake.templates import Render, Templates, plain_column
from journey_pipelines.store import zones

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
MAX_PAYLOAD = 65_536
MAX_ID = 128


class RowRefused(Exception):
    """One row cannot become an event. The message is the reason that people read; what is the row's own in it follows a colon."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event ready for COPY: `payload` and `profile` are JSON texts of objects, `profile` None where the row changes no profile."""

    customer_id: str
    type: str
    occurred_at: datetime
    payload: str
    profile: str | None


@dataclass(frozen=True)
class MappingOptions:
    """The options as people write them. Without `payload` every column that no other option names goes into the payload, as it is."""

    type: str
    customer_id: str = "customer_id"
    occurred_at: str = "occurred_at"
    date_format: str | None = None
    timezone: str = "UTC"
    payload: Mapping[str, str] | None = None
    profile: Mapping[str, str] = field(default_factory=dict)


class RowMapping:
    """Compiled options. `columns` are the file's, None for JSON lines. Raises TemplateProblem for what is wrong before the first row."""

    def __init__(self, options: MappingOptions, columns: Sequence[str] | None) -> None:
        templates = Templates(columns)
        self._type = templates.compile("--type", options.type)
        self._customer_id = templates.compile("--customer-id", options.customer_id, column_name=True)
        self._occurred_at = templates.compile("--occurred-at", options.occurred_at, column_name=True)
        self._profile = _compiled(templates, "--profile", options.profile)
        self._payload = None if options.payload is None else _compiled(templates, "--payload", options.payload)
        self._taken = {
            plain_column(text) for text in (options.customer_id, options.occurred_at, options.type if "{" in options.type else "")
        }
        self._time = time_reader(options.date_format, options.timezone)

    def event(self, row: Mapping[str, Any]) -> Event:
        """The event of one row. Raises RowRefused."""
        try:
            customer_id = _identifier("customer id", self._customer_id(row))
            type_ = _identifier("event type", self._type(row))
            occurred_at = self._time(self._occurred_at(row))
            if self._payload is None:
                payload = {key: value for key, value in row.items() if key not in self._taken and value is not None}
            else:
                payload = _rendered(self._payload, row)
            # an absent key leaves the profile as it is, so a missing cell must not become a null that unsets
            profile = _rendered(self._profile, row) if self._profile else None
        except (TemplateError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
            raise RowRefused(f"a template fails on this row: {error}") from error
        return Event(customer_id, type_, occurred_at, _json("payload", payload), _json("profile", profile) if profile else None)


def _compiled(templates: Templates, option: str, texts: Mapping[str, str]) -> list[tuple[str, Render]]:
    for key in texts:
        if not key.strip():
            raise TemplateProblem(f"{option} needs key=template, got an empty key")
    return [(key, templates.compile(f"{option} {key}=", text)) for key, text in texts.items()]


def _rendered(fields: list[tuple[str, Render]], row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, render in fields if (value := render(row)) is not None}


def _identifier(what: str, value: Any) -> str:
    if value is None or value == "":
        raise RowRefused(f"no {what} (missing or empty)")
    if isinstance(value, float | Decimal) and value == int(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise RowRefused(f"{what} is neither text nor a whole number: {type(value).__name__}")
    value = value.strip()
    if not value:
        raise RowRefused(f"no {what} (missing or empty)")
    if len(value) > MAX_ID:
        raise RowRefused(f"{what} is longer than {MAX_ID} characters: {len(value)}")
    _storable(what, value)
    return value


def _storable(what: str, text: str) -> None:
    if "\x00" in text:
        raise RowRefused(f"{what} contains a NUL character, which PostgreSQL cannot store")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowRefused(f"{what} contains a lone surrogate, which is no character") from error


def _json(what: str, value: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except (ValueError, TypeError, RecursionError) as error:
        reason = "holds NaN or Infinity, which is not JSON" if "JSON compliant" in str(error) else str(error)
        raise RowRefused(f"{what} {reason}") from error
    if "\\u0000" in text and _has_nul(value):
        raise RowRefused(f"{what} contains a NUL character, which PostgreSQL cannot store")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise RowRefused(f"{what} contains a lone surrogate, which is no character") from error
    if size > MAX_PAYLOAD:
        raise RowRefused(f"{what} is larger than 64 kB: {size:,} bytes")
    return text


def _plain(value: Any) -> Any:
    """Decimals and times of the expression language as JSON knows them."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"holds a {type(value).__name__}, which is not JSON")


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, Mapping):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list | tuple) and any(_has_nul(item) for item in value)


def time_reader(date_format: str | None, timezone: str) -> Callable[[Any], datetime]:
    """Reads a cell as a point in time: ISO 8601 without a format, else strptime's, or `epoch` / `epoch_ms`.

    Times without an offset are in `timezone`. The reader raises RowRefused; TemplateProblem comes at once for an unknown zone or format.
    """
    try:
        zone: tzinfo = UTC if timezone == "UTC" else zones.zone(timezone)
    except KeyError as error:
        raise TemplateProblem(f"--timezone {timezone!r} is not a zone, expected e.g. UTC or Europe/Berlin") from error
    if date_format in ("epoch", "epoch_ms"):
        return _epoch_reader(1000 if date_format == "epoch_ms" else 1, date_format)
    if date_format is not None and "%" not in date_format:
        raise TemplateProblem(f"--date-format {date_format!r}: expected epoch, epoch_ms or a format like %Y%m%d or %d.%m.%Y %H:%M")

    # files repeat their dates: 69,659 purchases fall on 546 days
    @lru_cache(maxsize=16_384)
    def read_text(text: str) -> datetime:
        try:
            moment = datetime.strptime(text, date_format) if date_format else datetime.fromisoformat(text)  # noqa: DTZ007 (the zone follows)
            return _in_range((moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC), text)
        except OverflowError as error:
            raise RowRefused(f"time is outside years 1 to 9999: {text[:60]!r}") from error
        except ValueError as error:
            expected = f"does not fit --date-format {date_format}" if date_format else "is not ISO 8601 (see --date-format)"
            raise RowRefused(f"time {expected}: {text[:60]!r}") from error

    def read(value: Any) -> datetime:
        if isinstance(value, str) and value:
            return read_text(value.strip())
        if isinstance(value, datetime):
            return _in_range((value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC), str(value))
        if value is None or value == "":
            raise RowRefused("no time (missing or empty)")
        if isinstance(value, int) and not isinstance(value, bool) and date_format:
            return read_text(str(value))
        raise RowRefused(f"time is not text (for a number give --date-format epoch or epoch_ms): {type(value).__name__}")

    return read


def _epoch_reader(per_second: int, name: str) -> Callable[[Any], datetime]:
    def read(value: Any) -> datetime:
        if value is None or value == "":
            raise RowRefused("no time (missing or empty)")
        try:
            seconds = Decimal(str(value).strip()) / per_second
            if isinstance(value, bool) or not math.isfinite(seconds):
                raise ValueError
            return _in_range(datetime.fromtimestamp(float(seconds), UTC), str(value))
        except (ArithmeticError, ValueError, OSError) as error:
            raise RowRefused(f"time does not fit --date-format {name}: {str(value)[:60]!r}") from error

    return read


def _in_range(moment: datetime, text: str) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise RowRefused(f"time is outside years 1 to 9999: {text[:60]!r}")
    return moment
