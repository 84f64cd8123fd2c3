"""Step funnel: frames in, one row a step out. No database, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from reports.metrics import KEYS, tally, total

COLUMNS = [
    *KEYS, "step_key", "position", "is_final", "reached", "journeys", "passed", "waiting", "exited", "branches", "exits_by_reason",
    "median_seconds", "p90_seconds",
]  # fmt: skip


def step_funnel(steps: pd.DataFrame, visits: pd.DataFrame, not_final: Iterable[tuple[str, int]] = ()) -> pd.DataFrame:
    """One row for every step of `steps` and every other step that was visited, in the order of the file.

    `steps`: workflow_id, version, step_key, position · `visits`: as in `reports.read.Ledger`. Steps that no file knows come last.
    """
    laid_out = zip(*(steps[name] for name in (*KEYS, "step_key", "position")), strict=True)
    places = {(workflow_id, version, step_key): int(position) for workflow_id, version, step_key, position in laid_out}
    open_keys = set(not_final)
    seen = set(zip(visits["workflow_id"], visits["version"], visits["step_key"], strict=True))
    beyond = max(places.values(), default=0) + 1
    grouped = dict(list(visits.groupby([*KEYS, "step_key"]))) if len(visits) else {}
    rows = [
        _row(key, places.get(key, beyond), (key[0], key[1]) not in open_keys, grouped.get(key, visits.iloc[:0]))
        for key in sorted(set(places) | seen, key=lambda k: (k[0], k[1], places.get(k, beyond), k[2]))
    ]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def merged_steps(workflows: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """The steps of the current versions, as version 0: what a funnel over several versions is laid out by."""
    current = workflows[workflows["is_current"].astype(bool)]
    wanted = set(zip(current["workflow_id"], current["version"], strict=True))
    kept = [pair in wanted for pair in zip(steps["workflow_id"], steps["version"], strict=True)]
    return steps[pd.Series(kept, index=steps.index, dtype=bool)].assign(version=0).astype(object)


def _row(key: tuple[str, int, str], position: int, is_final: bool, visits: pd.DataFrame) -> dict[str, Any]:
    totals = visits["is_total"].astype(bool)
    whole, ways = visits[totals], visits[~totals]
    passed, exited = ways[ways["outcome"] == "passed"], ways[ways["outcome"] == "exited"]
    return {
        "workflow_id": key[0],
        "version": key[1],
        "step_key": key[2],
        "position": position,
        "is_final": is_final,
        "reached": total(whole),
        "journeys": total(whole, "journeys"),
        "passed": total(passed),
        "waiting": total(ways[ways["outcome"] == "waiting"]),
        "exited": total(exited),
        "branches": tally(passed, "way"),
        "exits_by_reason": tally(exited, "way"),
        "median_seconds": whole.iloc[0]["median_seconds"] if len(whole) else None,
        "p90_seconds": whole.iloc[0]["p90_seconds"] if len(whole) else None,
    }
