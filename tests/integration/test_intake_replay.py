"""Replay: a database of its own, history before --from, nothing after --to, the same result at every tick, nothing to send at the end."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from journey_pipelines.cli import build_app
from journey_pipelines.intake.errors import ReplayRefused
from journey_pipelines.intake.replay import tick_ends
from journey_pipelines.store.connect import make_engine
from journey_pipelines.store.tables import customer_events, customer_journeys, event_inbox, messages

WORKFLOW = """
workflow: win_back
triggers:
  - event: purchase
entry:
  reentry: after exit
exit:
  - event: closed
steps:
  - id: quiet
    wait: {for: purchase, timeout: 10 days}
    next:
      - when: arrived
        to: end
      - else: remind
  - id: remind
    do:
      - send_email: {template: remind, subject: We miss you}
  - id: last
    wait: 5 days
    do:
      - send_email: {template: remind, subject: Still}
    next: end
"""
# not in the order of time, as files are
EVENTS = [
    ("b", "2026-01-03T12:00", "purchase"),
    ("a", "2025-12-20", "purchase"),  # before --from: history
    ("a", "2026-01-02T08:30", "purchase"),
    ("a", "2026-01-12T08:30", "purchase"),  # at the timeout's instant: it counts
    ("b", "2026-01-15", "closed"),
    ("c", "2026-01-31T23:59", "purchase"),
    ("c", "2026-02-01", "purchase"),  # --to: not loaded
    ("a", "2026-01-01", "purchase"),  # --from is included
]


@pytest.fixture
def replayed(db_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Calls `journeys replay`; gives its result and an engine on its database."""
    monkeypatch.setenv("DATABASE_URL", db_url)
    folder = tmp_path / "project" / "win_back"
    folder.mkdir(parents=True)
    (folder / "workflow.yaml").write_text(WORKFLOW)
    (folder / "remind.html").write_text("<p>Come back</p>")
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps({"customer_id": who, "occurred_at": at, "type": kind}) + "\n" for who, at, kind in EVENTS))
    engines: dict[str, sa.Engine] = {}

    def run(tick: str, into: str, *more: str) -> tuple[Any, sa.Engine]:
        name = f"{sa.make_url(db_url).database}_{into}"
        options = ["--type", "{{ type }}", "--from", "2026-01-01", "--to", "2026-02-01", "--tick", tick, "--into", name]
        result = CliRunner().invoke(build_app(), ["replay", str(path), "--project", str(tmp_path / "project"), *options, *more])
        engines.setdefault(name, make_engine(sa.make_url(db_url).set(database=name), poolclass=sa.NullPool))
        return result, engines[name]

    yield run
    with make_engine(db_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as conn:
        for name in engines:
            conn.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


def story(engine: sa.Engine) -> dict[str, Any]:
    m, j = messages.c, customer_journeys.c
    with engine.connect() as conn:
        return {
            "messages": [
                tuple(r)
                for r in conn.execute(
                    sa.select(m.customer_id, m.step_key, m.planned_at, m.state, m.reason).order_by(m.customer_id, m.planned_at)
                )
            ],
            "journeys": [
                tuple(r)
                for r in conn.execute(
                    sa.select(j.customer_id, j.entered_at, j.status, j.exit_reason, j.due_at).order_by(j.customer_id, j.entered_at)
                )
            ],
            "inbox": conn.execute(sa.select(sa.func.count()).select_from(event_inbox)).scalar_one(),
            "history": conn.execute(sa.select(sa.func.count()).select_from(customer_events)).scalar_one(),
        }


def test_the_result_does_not_depend_on_the_tick(replayed: Any) -> None:
    stories = []
    for n, tick in enumerate(("1 hour", "1d", "7 days", "2 weeks", "365 days")):
        result, engine = replayed(tick, f"tick_{n}")
        assert result.exit_code == 0, result.output
        stories.append(story(engine))
    assert all(one == stories[0] for one in stories)

    def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
        return datetime(2026, 1, day, hour, minute, tzinfo=UTC)

    assert [row[:3] for row in stories[0]["messages"]] == [
        ("a", "remind", at(22, 8, 30)),
        ("a", "last", at(27, 8, 30)),
        ("b", "remind", at(13, 12)),
    ]
    # nothing is left that a dispatch could send
    assert {row[3] for row in stories[0]["messages"]} == {"suppressed"}
    assert [row[4] for row in stories[0]["messages"] if row[0] == "a"] == ["replay", "replay"]
    # a: three purchases from --from on, the one before is history; b left; c entered a minute before the end
    assert [(row[0], row[1], row[3]) for row in stories[0]["journeys"]] == [
        ("a", at(1), "completed"),
        ("a", at(2, 8, 30), "completed"),
        ("a", at(12, 8, 30), "completed"),
        ("b", at(3, 12), "exit_rule"),
        ("c", at(31, 23, 59), None),
    ]
    assert (stories[0]["inbox"], stories[0]["history"]) == (0, 7)


def test_the_summary_says_what_happened_and_how_to_look_at_it(replayed: Any) -> None:
    result, _ = replayed("1d", "summary")
    for text in (
        "into the inbox │ 6",
        "into history   │ 1",
        "from --to on, left out │ 1",
        "messages planned",
        "journeys status",
        "DROP DATABASE",
    ):
        assert "".join(text.split()) in "".join(result.output.split()), text


def test_the_clock_of_the_replay_shows_its_end(replayed: Any) -> None:
    _, engine = replayed("1d", "clock")
    with engine.connect() as conn:
        now = conn.execute(sa.text("SELECT journeys.clock_now()")).scalar_one()
    assert timedelta(0) <= now - datetime(2026, 2, 1, tzinfo=UTC) < timedelta(minutes=5)


def test_a_replay_starts_from_nothing_and_never_in_the_live_database(replayed: Any, db_url: str) -> None:
    replayed("1d", "again")
    result, _ = replayed("1d", "again")
    assert result.exit_code == 1
    assert "is not empty (customer_events has rows)" in " ".join(result.output.split())
    result, _ = replayed("1d", "x", "--into", str(sa.make_url(db_url).database))
    assert result.exit_code == 1
    assert "is the live one" in result.output


def test_wrong_times_are_said(replayed: Any) -> None:
    for options, said in (
        (("--tick", "1 month"), "months have no fixed length"),
        (("--tick", "soon"), "expected a duration"),
        (("--from", "2026-03-01"), "--from must be before --to"),
        (("--to", "someday"), "is not ISO 8601"),
        (("--tick", "1 second"), "at most 1,000,000 are allowed"),
    ):
        result, _ = replayed("1d", "never", *options)
        assert result.exit_code == 1
        assert said in " ".join(result.output.split())


def test_a_project_with_errors_is_not_replayed(replayed: Any, tmp_path: Path) -> None:
    (tmp_path / "project" / "win_back" / "workflow.yaml").write_text("workflow: win_back\nsteps: []\n")
    result, _ = replayed("1d", "never")
    assert result.exit_code == 1
    assert "workflow.yaml:" in result.output
    assert "nothing was replayed" in result.output


def test_ticks_end_where_the_replay_ends() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert tick_ends(start, start + timedelta(days=3), timedelta(days=1)) == [start + timedelta(days=n) for n in (1, 2, 3)]
    assert tick_ends(start, start + timedelta(days=3), timedelta(days=2)) == [start + timedelta(days=n) for n in (2, 3)]
    assert tick_ends(start, start + timedelta(hours=1), timedelta(days=9)) == [start + timedelta(hours=1)]
    with pytest.raises(ReplayRefused):
        tick_ends(start, start + timedelta(days=1), timedelta(0))
