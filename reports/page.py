"""The page of a day: one HTML file that needs nothing else, from figures that are already computed."""

from __future__ import annotations

from functools import cache

import jinja2

from reports.days import Span, long_day, short_day
from reports.final import Openness
from reports.views import WorkflowView
from reports.words import MIN_RATE_N, count

_TOTALS = ("entered", "ended_that_day", "accepted_that_day", "conversions_that_day", "under_way_at_close")


def render_page(window: Span, zone: str, open_day: bool, openness: Openness, workflows: tuple[WorkflowView, ...]) -> str:
    """The page of the window's last day. The same figures give the same text: no time of making, no random id."""
    if open_day:
        state = ("open", "The day is open")
    elif openness.is_final:
        state = ("final", "Final")
    else:
        state = ("moving", "Not final")
    return (
        _environment()
        .get_template("day.html")
        .render(
            day=long_day(window.last),
            short=short_day(window.last),
            since=short_day(window.first),
            days=len(window.days()),
            zone=zone,
            state=state,
            why=openness.why,
            open_day=open_day,
            workflows=workflows,
            totals={name: sum(view.day[name] for view in workflows) for name in _TOTALS},
            min_rate=MIN_RATE_N,
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = count
    return environment
