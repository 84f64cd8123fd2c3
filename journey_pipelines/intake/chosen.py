"""A file of customers for `journeys enter`: CSV with a header, JSON lines, or an id a line, read as a stream."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from journey_pipelines.engine.by_hand import Chosen
from journey_pipelines.engine.operator import OperationRefused
from journey_pipelines.store.jsonb import storable

COLUMN = "customer_id"


def read_chosen(path: Path, names: Collection[str]) -> Iterator[Chosen]:
    """Customers of a file with those of their fields that are in `names`; other columns are not read.

    A name ending in .csv is CSV with a header, .jsonl or .ndjson is an object (or an id) a line, anything else an id a line. Raises
    OperationRefused, with the line, for a file that cannot be read so.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, chosen in _rows(path, file, names):
                if not storable([chosen.customer_id, dict(chosen.fields)]):
                    raise OperationRefused(f"{path}:{number}: a NUL character, half a character, or nested too deeply")
                yield chosen
    except OSError as error:
        raise OperationRefused(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise OperationRefused(f"{path}: not UTF-8") from None


def typed(text: str) -> Any:
    """A value as typed: JSON where it is JSON, else text. So 5 is a number, 05 is text, and '"5"' is text as well."""
    try:
        value = json.loads(text, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        value = text
    if not storable(value):
        raise OperationRefused(f"--field: a character that cannot be stored, or nested too deeply: {text[:100]!r}")
    return value


def _rows(path: Path, file: TextIO, names: Collection[str]) -> Iterator[tuple[int, Chosen]]:
    match path.suffix.lower():
        case ".csv":
            return _csv(path, file, names)
        case ".jsonl" | ".ndjson":
            return _json_lines(path, file, names)
        case _:
            return ((number, Chosen(line.strip())) for number, line in enumerate(file, 1) if line.strip())


def _csv(path: Path, file: TextIO, names: Collection[str]) -> Iterator[tuple[int, Chosen]]:
    rows = csv.DictReader(file)
    columns = rows.fieldnames or []
    if COLUMN not in columns:
        raise OperationRefused(f"{path}:1: expected a column {COLUMN}, found {', '.join(columns) or 'no header'}")
    try:
        for row in rows:
            customer_id = (row.get(COLUMN) or "").strip()
            if customer_id:
                yield rows.line_num, Chosen(customer_id, {name: row[name] for name in names if row.get(name) not in (None, "")})
    except csv.Error as error:
        raise OperationRefused(f"{path}:{rows.line_num}: {error}") from None


def _json_lines(path: Path, file: TextIO, names: Collection[str]) -> Iterator[tuple[int, Chosen]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise OperationRefused(f"{path}:{number}: not JSON: {error}") from None
        found: Mapping[str, Any] = value if isinstance(value, dict) else {COLUMN: value}
        customer_id = found.get(COLUMN)
        if isinstance(customer_id, bool) or not isinstance(customer_id, str | int):
            raise OperationRefused(f"{path}:{number}: expected {COLUMN} as text or number, got {customer_id!r}")
        yield number, Chosen(str(customer_id).strip(), {name: found[name] for name in names if found.get(name) is not None})
