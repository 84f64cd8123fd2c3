"""One demo from the first line to the exit code: attended until Ctrl-C, or unattended with a verdict at the end."""

from __future__ import annotations

import argparse
import signal
import time
from datetime import timedelta
from pathlib import Path
from types import FrameType

import httpx
import psycopg
import sqlalchemy as sa
from rich.console import Console
from rich.panel import Panel

from journey_pipelines.demo import summary
from journey_pipelines.demo.conductor import Conductor, DemoError, Options
from journey_pipelines.demo.counters import Counters, count
from journey_pipelines.demo.ports import PortBusyError
from journey_pipelines.demo.prepare import PreparationError
from journey_pipelines.demo.webserver import WebserverError
from journey_pipelines.settings import SettingsError, settings
from journey_pipelines.store.connect import DatabaseUnavailable
from journey_pipelines.store.migrate import MigrationError
from journey_pipelines.store.server import ServerError

FEWEST_ACCEPTED, IN_SECONDS = 200, 120.0
# A send whose worker was killed is given up after its lease, 90 s.
DRAINED_WITHIN = 180.0
REPORTED_WITHIN = 120.0
_QUIET_FOR = 3.0
_STATUS_EVERY = 15.0
_REPORT_DAYS = 7

_CLOCK = """
SELECT journeys.clock_now(), (journeys.clock_now() AT TIME ZONE coalesce(policies ->> 'zone', 'UTC'))::date AS today,
       (SELECT (min(entered_at) AT TIME ZONE coalesce(policies ->> 'zone', 'UTC'))::date FROM journeys.customer_journeys) AS first_day
  FROM journeys.deployment
"""
_KNOWN = (
    DemoError, PortBusyError, PreparationError, WebserverError, SettingsError, DatabaseUnavailable, MigrationError, ServerError,
)  # fmt: skip


def run(asked: argparse.Namespace, console: Console) -> int:
    """The exit code: 0 = as it should be, 1 = something is wrong, 130 = an unattended run was interrupted."""
    options = Options(asked.rate, asked.seed, asked.pace, asked.port, asked.inbox_port, asked.smtp_port)
    try:
        conductor = Conductor(options, settings(), console)
        with _signals(conductor), conductor:
            if asked.duration is not None:
                return _unattended(conductor, asked.duration)
            return _attended(conductor)
    except KeyboardInterrupt:
        console.print("stopped" if asked.duration is None else "interrupted: no verdict")
        return 130 if asked.duration is not None else 0
    except _KNOWN as error:
        console.print("[bold red]error:[/]", style=None, end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
        return 1


class _signals:
    """SIGINT, SIGTERM and SIGHUP end the demo in order; another one while it is being taken down makes haste."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._conductor.stopping:
            self._conductor.hurry()
            return
        raise KeyboardInterrupt


def _attended(conductor: Conductor) -> int:
    _signpost(conductor)
    conductor.console.print("[dim]Ctrl-C stops everything; the next `make demo` goes on where this one was.[/]")
    said, day = time.monotonic(), None
    while True:
        time.sleep(1.0)
        conductor.look_after()
        with conductor.engine.connect() as conn:
            now, today, first = conn.execute(sa.text(_CLOCK)).one()
            if time.monotonic() - said >= _STATUS_EVERY:
                said = time.monotonic()
                totals = summary.figures(conn)
                accepted = sum(n for (_, state, _), n in totals.messages.items() if state == "accepted")
                conductor.say(
                    f"clock {now:%Y-%m-%d %H:%M} · {sum(totals.events.values()):,} events in · {totals.entered.total():,} journeys, "
                    f"{totals.ended.total():,} ended · {accepted:,} messages accepted"
                )
        if first is not None and today != day:
            day = today
            try:
                conductor.webserver.make_reports(max(first, today - timedelta(days=_REPORT_DAYS)), today)
            except (WebserverError, httpx.HTTPError) as error:
                conductor.say(f"[yellow]no reports:[/] {error}")


def _unattended(conductor: Conductor, duration: float) -> int:
    with conductor.engine.connect() as conn:
        before = summary.figures(conn)
    accepted_before = _accepted(conductor)
    conductor.say(f"everything answers; running for {duration:.0f} s")
    _signpost(conductor)
    ends = time.monotonic() + duration
    said = time.monotonic()
    while (left := ends - time.monotonic()) > 0:
        time.sleep(min(0.5, left))
        conductor.look_after()
        if time.monotonic() - said >= _STATUS_EVERY:
            said = time.monotonic()
            conductor.say(f"{max(0.0, ends - said):.0f} s to go · {_accepted(conductor) - accepted_before:,} messages accepted")
    wrong = []
    conductor.say("the shop closes; the engine works off what is left")
    conductor.close_shop()
    conductor.rest_clock()
    unfinished = _drain(conductor)
    if unfinished:
        wrong.append(f"not worked off after {DRAINED_WITHIN:.0f} s: {unfinished}")
    report, complaint = _report(conductor)
    wrong += [complaint] if complaint else []
    counters = _counters(conductor)
    accepted = _accepted(conductor) - accepted_before
    with conductor.engine.connect() as conn:
        totals = summary.figures(conn)
    conductor.console.print(Panel(summary.show(totals, before, counters, report), title=f"after {duration:.0f} s", title_align="left"))
    wrong += _judge(counters, accepted, duration)
    for complaint in wrong:
        conductor.console.print(f"[bold red]wrong:[/] {complaint}", soft_wrap=True)
    if not wrong:
        conductor.console.print(f"[bold green]all well:[/] {accepted:,} messages accepted by the sandbox, every one once")
    return 1 if wrong else 0


def _judge(counters: Counters, accepted: int, duration: float) -> list[str]:
    """What is wrong with a run, in words."""
    wrong = [
        f"{getattr(counters, name)} {name.replace('_', ' ')}: {'; '.join(counters.examples.get(name, [])[:3])}"
        for name in ("lost", "duplicated", "against_consent", "stuck")
        if getattr(counters, name)
    ]
    if counters.phantoms:
        wrong.append(f"{counters.phantoms} messages are accepted in the ledger and unknown to the sandbox")
    if counters.strangers:
        wrong.append(f"{counters.strangers} messages reached the sandbox without a row in the ledger")
    if duration >= IN_SECONDS and accepted < FEWEST_ACCEPTED:
        wrong.append(f"{accepted} messages accepted, expected at least {FEWEST_ACCEPTED} in {duration:.0f} s")
    return wrong


def _signpost(conductor: Conductor) -> None:
    with conductor.engine.connect() as conn:
        someone = conn.scalar(sa.text("SELECT customer_id FROM journeys.customer_journeys ORDER BY id LIMIT 1")) or "c000001"
    latest = latest_report(conductor.reports)
    data = "" if conductor.data == Path(".journeys").resolve() else f"JOURNEYS_DATA={conductor.data} "
    for what, where in (
        ("Dagster UI", conductor.webserver.url),
        ("Sandbox inbox", conductor.inbox_url),
        ("Latest report", latest.as_uri() if latest else f"none yet; the first will be under {conductor.reports.as_uri()}"),
        ("One person", f"{data}.venv/bin/journeys person {someone}"),
        ("Kill a worker", f"kill -9 $({data}.venv/bin/python -m journey_pipelines.demo.workers)"),
        ("Logs", str(conductor.folder / "logs")),
    ):
        conductor.console.print(f"  [bold]{what:14}[/] {where}", soft_wrap=True)


def latest_report(folder: Path) -> Path | None:
    """The report of the latest day that has one: the folders are named by day."""
    pages = sorted(folder.glob("*-*-*/report.html"))
    return pages[-1] if pages else None


def _accepted(conductor: Conductor) -> int:
    try:
        return int(httpx.get(f"{conductor.inbox_url}/api/status", timeout=10).raise_for_status().json()["total"])
    except httpx.HTTPError as error:
        raise DemoError(f"the sandbox does not answer: {error}") from None


def _drain(conductor: Conductor) -> str | None:
    """Wait until nothing is due for a few seconds; returns what is left when that takes too long."""
    deadline, quiet_since = time.monotonic() + DRAINED_WITHIN, None
    while True:
        conductor.look_after()
        with conductor.engine.connect() as conn:
            left = summary.still_open(conn)
        counters = _counters(conductor) if left.nothing else None
        if counters is not None and not counters.waiting and not counters.lost:
            quiet_since = quiet_since or time.monotonic()
            if time.monotonic() - quiet_since >= _QUIET_FOR:
                return None
        else:
            quiet_since = None
        if time.monotonic() > deadline:
            return f"{left}, {counters.waiting + counters.lost} events not taken in" if counters else str(left)
        time.sleep(1.0)


def _counters(conductor: Conductor) -> Counters:
    url = conductor.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, application_name="demo counters") as connection:
        return count(connection, conductor.folder)


def _report(conductor: Conductor) -> tuple[str | None, str | None]:
    """Make the reports of all days so far; returns where the latest page is, and a complaint when there is none."""
    with conductor.engine.connect() as conn:
        _, today, first = conn.execute(sa.text(_CLOCK)).one()
    if first is None:
        return None, "nobody entered a journey"
    conductor.say(f"reports of {first} to {today}")
    deadline, outcome = time.monotonic() + REPORTED_WITHIN, None
    try:
        run_id = conductor.webserver.make_reports(first, today)
        while outcome is None and time.monotonic() < deadline:
            time.sleep(0.5)
            outcome = conductor.webserver.outcome(run_id)
        reason = conductor.webserver.why(run_id) if outcome != "SUCCESS" else ""
    except (WebserverError, httpx.HTTPError) as error:
        return None, f"the reports were not made: {error}"
    page = conductor.reports / today.isoformat() / "report.html"
    if outcome != "SUCCESS" or not page.exists():
        return None, f"the reports were not made: run {run_id} is {outcome or 'not finished'}{': ' * bool(reason)}{reason}"
    return str(page), None
