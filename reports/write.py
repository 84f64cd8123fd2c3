"""Where reports go: the partition of a day in the report tables, and files that are replaced whole."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from journey_pipelines.store.report_tables import report_days
from reports.days import Span


def store_day(conn: sa.Connection, day: Span, zone: str, is_final: bool, frames: dict[sa.Table, pd.DataFrame]) -> None:
    """Replace the partition ``day`` of every table, within the caller's transaction. Two writers of one day take turns."""
    as_of = day.last
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"journeys report {as_of}", 0))))
    for table, frame in frames.items():
        conn.execute(sa.delete(table).where(table.c.as_of == as_of))
        rows = [{"as_of": as_of, **row} for row in plain_rows(frame)]
        if rows:
            conn.execute(sa.insert(table), rows)
    conn.execute(sa.delete(report_days).where(report_days.c.as_of == as_of))
    conn.execute(sa.insert(report_days).values(as_of=as_of, zone=zone, from_at=day.from_at, to_at=day.to_at, is_final=is_final))


def csv_text(as_of: date, frame: pd.DataFrame) -> str:
    """The partition as CSV: a header always, mappings as JSON with sorted keys, null as nothing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["as_of", *frame.columns])
    for row in plain_rows(frame):
        writer.writerow([as_of.isoformat(), *(_cell(value) for value in row.values())])
    return out.getvalue()


def write_file(path: Path, text: str) -> Path:
    """Write ``text`` so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    unfinished.replace(path)
    return path


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as Python values: no numpy, and what is missing is None."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return value
    if value is None or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    # spreadsheets run what begins like a formula; ids of workflows and steps cannot, numbers may
    return str(value)
