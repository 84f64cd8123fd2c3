"""What a run came to, read from the tables: the figures, and the table that shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from journey_pipelines.demo.counters import Counters

_EVENTS = "SELECT source, count(*) FROM journeys.customer_events GROUP BY 1 ORDER BY 2 DESC"
_QUARANTINED = "SELECT count(*) FROM journeys.event_quarantine"
_JOURNEYS = """
SELECT workflow_id, count(*), count(*) FILTER (WHERE status = 'ended'), count(*) FILTER (WHERE held_out)
  FROM journeys.customer_journeys GROUP BY 1
"""
_ADVANCED = """
SELECT workflow_id, count(*) FROM journeys.journey_transitions WHERE from_step IS NOT NULL AND to_step IS NOT NULL GROUP BY 1
"""
_EXITS = "SELECT exit_reason, count(*) FROM journeys.customer_journeys WHERE status = 'ended' GROUP BY 1 ORDER BY 2 DESC"
_MESSAGES = "SELECT channel, state, coalesce(reason, ''), count(*) FROM journeys.messages GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC"
_OPEN = """
SELECT (SELECT count(*) FROM journeys.event_inbox WHERE effective_at <= journeys.clock_now()),
       (SELECT count(*) FROM journeys.customer_journeys WHERE status = 'active' AND held_at IS NULL AND due_at <= journeys.clock_now()),
       (SELECT count(*) FROM journeys.messages WHERE state IN ('planned', 'deferred') AND send_after <= journeys.clock_now()
            OR state = 'retry' AND send_after <= journeys.clock_now() + interval '1 minute'),
       (SELECT count(*) FROM journeys.messages WHERE state = 'sending')
"""


@dataclass
class Figures:
    """Totals of the database at a time of the clock."""

    at: datetime
    events: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    entered: Counter[str] = field(default_factory=Counter)
    advanced: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    held_out: int = 0
    exits: dict[str, int] = field(default_factory=dict)
    messages: dict[tuple[str, str, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Open:
    """What is due and not done yet; a retry counts from a minute before."""

    events: int
    journeys: int
    messages: int
    sending: int

    @property
    def nothing(self) -> bool:
        return not (self.events or self.journeys or self.messages or self.sending)

    def __str__(self) -> str:
        return f"{self.events} events, {self.journeys} journeys and {self.messages + self.sending} messages to do"


def figures(conn: sa.Connection) -> Figures:
    """Read the totals, in one transaction of the caller's."""
    found = Figures(conn.execute(sa.text("SELECT journeys.clock_now()")).scalar_one())
    found.events = {row[0]: row[1] for row in conn.execute(sa.text(_EVENTS))}
    found.quarantined = conn.execute(sa.text(_QUARANTINED)).scalar_one()
    for workflow, entered, ended, held_out in conn.execute(sa.text(_JOURNEYS)):
        found.entered[workflow], found.ended[workflow] = entered, ended
        found.held_out += held_out
    found.advanced.update({row[0]: row[1] for row in conn.execute(sa.text(_ADVANCED))})
    found.exits = {row[0]: row[1] for row in conn.execute(sa.text(_EXITS))}
    found.messages = {(channel, state, reason): n for channel, state, reason, n in conn.execute(sa.text(_MESSAGES))}
    return found


def still_open(conn: sa.Connection) -> Open:
    return Open(*conn.execute(sa.text(_OPEN)).one())


def show(now: Figures, before: Figures, counters: Counters | None, report: str | None) -> RenderableType:
    """The summary as tables: this run, and in brackets everything so far where an earlier run left something."""
    earlier = bool(before.events)

    def number(new: int, old: int) -> str:
        return f"{new - old:,} ({new:,})" if earlier else f"{new:,}"

    flow = _table("Journeys" + (" (in brackets: all runs)" if earlier else ""), "", "entered", "advanced", "ended")
    for name in sorted(now.entered):
        pairs = [(column[name], old[name]) for column, old in zip(_columns(now), _columns(before), strict=True)]
        flow.add_row(name, *(number(*pair) for pair in pairs))
    flow.add_section()
    flow.add_row("all", *(number(c.total(), o.total()) for c, o in zip(_columns(now), _columns(before), strict=True)))
    sent = _table("Messages", "channel", "state", "reason", "messages")
    for (channel, state, reason), n in now.messages.items():
        sent.add_row(channel, state, reason, number(n, before.messages.get((channel, state, reason), 0)))
    for table, numbers in ((flow, (1, 2, 3)), (sent, (3,))):
        for column in numbers:
            table.columns[column].justify = "right"
    events = ", ".join(f"{source} {number(n, before.events.get(source, 0))}" for source, n in now.events.items())
    total = number(sum(now.events.values()), sum(before.events.values()))
    exits = ", ".join(f"{reason} {n:,}" for reason, n in now.exits.items()) or "none yet"
    lines: list[Text | Table] = [
        Text.assemble(("Events in  ", "bold"), f"{total}: {events}; {number(now.quarantined, before.quarantined)} in quarantine"),
        flow,
        Text.assemble(("Ended by   ", "bold"), f"{exits}; {now.held_out:,} journeys are in a hold-out"),
        sent,
        *([_verdict(counters)] if counters is not None else []),
        Text.assemble(("Report     ", "bold"), report or "none was made"),
    ]
    return Group(*lines)


def _columns(figures: Figures) -> tuple[Counter[str], Counter[str], Counter[str]]:
    return figures.entered, figures.advanced, figures.ended


def _verdict(counters: Counters) -> Table:
    table = _table("The four counters", "lost", "duplicated", "against consent", "stuck")
    four = (counters.lost, counters.duplicated, counters.against_consent, counters.stuck)
    table.add_row(*(Text(f"{n:,}", style="green" if n == 0 else "bold red", justify="right") for n in four))
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", header_style="dim", pad_edge=False)
