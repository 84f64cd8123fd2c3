"""Files into the inbox and into history: order, equal lines, importing again, bad rows, the command line."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from journey_pipelines.cli import build_app
from journey_pipelines.engine.tick import tick
from journey_pipelines.intake.errors import NothingFits
from journey_pipelines.intake.importing import ImportReport, import_events
from journey_pipelines.intake.load import Line, loading
from journey_pipelines.intake.mapping import LATEST, Event, MappingOptions, RowMapping
from journey_pipelines.intake.readers import Row
from journey_pipelines.intake.shape import detect
from journey_pipelines.store.clock import set_clock
from journey_pipelines.store.hashes import event_key, shard_of
from journey_pipelines.store.tables import customer_event_stats, customer_events, customer_profiles, event_inbox, event_keys

CDNOW = Path(__file__).parents[3] / "shared" / "data" / "cdnow_master.txt.gz"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def load(db: sa.Engine, path: Path, history: bool = False, batch_rows: int = 10_000, **options: Any) -> ImportReport:
    shape = detect(path)
    columns = shape.columns or None
    mapping = RowMapping(MappingOptions(**{"type": "purchase", "customer_id": "id", "occurred_at": "at", **options}), columns)
    return import_events(db, path, shape, mapping, history_before=LATEST if history else None, batch_rows=batch_rows)


def file(tmp_path: Path, text: str, name: str = "events.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def rows(db: sa.Engine, table: sa.Table, *order: str) -> list[Any]:
    with db.connect() as conn:
        return list(conn.execute(sa.select(table).order_by(*(table.c[name] for name in order))).all())


def test_rows_enter_in_file_order_with_received_at_as_occurred_at(db: sa.Engine, tmp_path: Path) -> None:
    path = file(tmp_path, "id,at,total\nb,2026-01-02,1\na,2026-01-01,2\nb,2026-01-01,3\n")
    report = load(db, path, payload={"total": "{{ total | int }}"}, profile={"email_address": "{{ id }}@example.org"})
    assert (report.rows, report.queued, report.known, report.rejected, report.rejects) == (3, 3, 0, 0, None)
    assert (report.first_at, report.last_at) == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    found = rows(db, event_inbox, "id")
    assert [(row.customer_id, row.payload["total"]) for row in found] == [("b", 1), ("a", 2), ("b", 3)]
    assert all(row.received_at == row.occurred_at for row in found)
    assert found[0].profile == {"email_address": "b@example.org"}
    assert found[0].source == "import:purchase"


def test_equal_lines_are_all_events_and_importing_again_adds_nothing(db: sa.Engine, tmp_path: Path) -> None:
    path = file(tmp_path, "id,at\na,2026-01-01\nb,2026-01-01\na,2026-01-01\na,2026-01-01\n")
    assert load(db, path).queued == 4
    assert load(db, path).known == 4  # still in the inbox
    tick(db, NOW)
    assert load(db, path).known == 4  # in history by now
    assert load(db, path, history=True).known == 4
    assert len(rows(db, event_inbox, "id")) == 0
    assert len(rows(db, customer_events, "seq")) == 4

    # the file grew: only what is new comes in
    grown = file(tmp_path, path.read_text() + "a,2026-01-01\nc,2026-01-02\n", "grown.csv")
    report = load(db, grown)
    assert (report.known, report.queued) == (4, 2)


def test_equal_lines_far_apart_are_counted_over_batches(db: sa.Engine, tmp_path: Path) -> None:
    path = file(tmp_path, "id,at\n" + "a,2026-01-01\nb,2026-01-01\n" * 5)
    assert load(db, path, batch_rows=3).queued == 10
    assert load(db, path, batch_rows=7).queued == 0
    ids = [row.source_event_id.rsplit("-", 1)[1] for row in rows(db, event_inbox, "id")]
    assert ids == ["1", "1", "2", "2", "3", "3", "4", "4", "5", "5"]


def test_one_file_may_be_two_types_of_events(db: sa.Engine, tmp_path: Path) -> None:
    path = file(tmp_path, "id,at\na,2026-01-01\n")
    assert load(db, path).queued == 1
    assert load(db, path, type="visit").queued == 1
    assert load(db, path, type="visit").queued == 0


def test_history_never_sees_the_inbox(db: sa.Engine, tmp_path: Path) -> None:
    text = "id,at,plan\na,2026-01-02,gold\na,2026-01-01,silver\nb,2026-01-01,\na,2026-01-02,gold\n"
    path = file(tmp_path, text)
    report = load(db, path, history=True, profile={"plan": "{{ plan }}", "first_name": "N{{ id }}"})
    assert (report.history, report.queued) == (4, 0)
    assert rows(db, event_inbox, "id") == []
    events = rows(db, customer_events, "seq")
    assert [(row.customer_id, row.occurred_at.day) for row in events] == [("a", 2), ("a", 1), ("b", 1), ("a", 2)]
    assert all(row.received_at == row.occurred_at and row.original_occurred_at is None for row in events)
    keys = rows(db, event_keys, "seq")
    assert [(row.key, row.seq) for row in keys] == [(event_key(row.source, row.source_event_id), row.seq) for row in events]
    stats = {row.customer_id: row for row in rows(db, customer_event_stats, "customer_id")}
    assert (stats["a"].n, stats["a"].first_at.day, stats["a"].last_at.day, stats["a"].last_seq) == (3, 1, 2, events[3].seq)
    assert stats["a"].shard == shard_of("a")
    profiles = {row.customer_id: row for row in rows(db, customer_profiles, "customer_id")}
    # the later event's plan stands, though it came first in the file; a missing cell unsets nothing
    assert profiles["a"].attributes == {"plan": "gold"}
    assert profiles["b"].attributes == {}
    assert profiles["b"].first_name == "Nb"


def test_history_adds_to_what_is_known(db: sa.Engine, tmp_path: Path) -> None:
    load(db, file(tmp_path, "id,at\na,2026-01-05\n"))
    tick(db, NOW)
    load(db, file(tmp_path, "id,at\na,2026-01-02\na,2026-01-09\n", "more.csv"), history=True)
    (stats,) = rows(db, customer_event_stats, "customer_id")
    assert (stats.n, stats.first_at.day, stats.last_at.day) == (3, 2, 9)


def test_an_event_from_the_far_future_is_clamped_like_any_other(db: sa.Engine, tmp_path: Path) -> None:
    with db.begin() as conn:
        set_clock(conn, NOW, 0.001)
    path = file(tmp_path, "id,at\na,2099-01-01\n")
    load(db, path)
    (queued,) = rows(db, event_inbox, "id")
    assert queued.effective_at.year == 2026
    with db.begin() as conn:
        conn.execute(sa.delete(event_inbox))
    load(db, path, history=True)
    (event,) = rows(db, customer_events, "seq")
    assert (event.occurred_at.year, event.original_occurred_at.year) == (2026, 2099)


def test_bad_rows_are_counted_and_written_aside_and_the_others_go_on(db: sa.Engine, tmp_path: Path) -> None:
    good = {"id": "a", "at": "2026-01-01", "note": "fine"}
    lines = [
        json.dumps(good),
        json.dumps({**good, "id": "x" * 200}),
        json.dumps({**good, "note": "\u0000"}),
        json.dumps({**good, "note": "\ud800"}),
        json.dumps({**good, "at": "2026-02-30"}),
        '{"id": "a", "at": "2026-01-01", "note": NaN}',
        json.dumps({"at": "2026-01-01"}),
        "not json",
        json.dumps({**good, "note": "x" * 70_000}),
        json.dumps({**good, "id": "b"}),
    ]
    path = file(tmp_path, "\n".join(lines) + "\n", "events.jsonl")
    report = load(db, path)
    assert (report.rows, report.queued, report.rejected) == (10, 2, 8)
    assert report.rejects == tmp_path / "events.jsonl.rejected.jsonl"
    rejected = [json.loads(line) for line in report.rejects.read_text().splitlines()]
    assert [row["line"] for row in rejected] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert rejected[0]["reason"] == "customer id is longer than 128 characters: 200"
    assert rejected[6] == {"line": 8, "reason": "not JSON: Expecting value at column 1", "raw": "not json"}
    assert [row.customer_id for row in rows(db, event_inbox, "id")] == ["a", "b"]
    # corrected and loaded again: the good ones are known, the file of rejected rows is gone
    path.write_text(json.dumps(good) + "\n" + json.dumps({**good, "id": "c"}) + "\n")
    again = load(db, path)
    assert (again.known, again.queued, again.rejected) == (1, 1, 0)
    assert not report.rejects.exists()


def test_a_row_that_only_the_database_refuses_is_found_by_halving(db: sa.Engine) -> None:
    def line(n: int, payload: str) -> Line:
        return Line(Row(n, str(n).encode(), {}), "import:x", Event("a", "x", NOW, payload, None), False)

    deep = "[" * 20_000 + "]" * 20_000  # more than the server's stack allows
    lines = [line(n, "{}" if n != 7 else f'{{"a": {deep}}}') for n in range(20)]
    with loading(db) as loader:
        loaded = loader.load(lines, NOW)
    assert loaded.queued == 19
    ((refused, reason),) = loaded.refused
    assert refused.row.number == 7
    assert reason.startswith("refused by the database: stack depth limit exceeded")
    assert [row.source_event_id for row in rows(db, event_inbox, "id")] == [
        f"{Row(n, str(n).encode(), {}).hash.hex()}-1" for n in range(20) if n != 7
    ]


def test_options_that_fit_no_row_are_said_before_anything_is_loaded(db: sa.Engine, tmp_path: Path) -> None:
    path = file(tmp_path, "id,at\n" + "a,01.02.2026\n" * 5)
    with pytest.raises(NothingFits, match=r"none of the first 5 rows .* time is not ISO 8601 \(see --date-format\) \(5x\)"):
        load(db, path)
    with pytest.raises(NothingFits, match="none of the first 1,000 rows"):
        load(db, file(tmp_path, "id,at\n" + "a,01.02.2026\n" * 2000 + "a,2026-02-01\n", "long.csv"))
    assert rows(db, event_inbox, "id") == []


def test_an_import_that_was_cut_off_goes_on_where_it_was(db: sa.Engine, tmp_path: Path) -> None:
    path = file(tmp_path, "id,at\n" + "".join(f"{n % 3},2026-01-01\n" for n in range(2500)))
    shape = detect(path)
    mapping = RowMapping(MappingOptions(type="purchase", customer_id="id", occurred_at="at"), shape.columns)
    told: list[int] = []

    def interrupt(position: int) -> None:
        told.append(position)
        if len(told) == 3:  # told every thousand rows
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_events(db, path, shape, mapping, batch_rows=500, progress=interrupt)
    assert len(rows(db, event_inbox, "id")) == 2000
    report = import_events(db, path, shape, mapping, batch_rows=400)
    assert (report.known, report.queued) == (2000, 500)


def test_the_command_reads_a_packed_file_and_says_what_it_did(db_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", db_url)
    path = tmp_path / "orders.gz"
    path.write_bytes(gzip.compress(b" customer_id date total\n 1 20260101 5.5\n 1 20260101 5.5\n 2 2026010x 1\n"))
    command = ["import-events", str(path), "--type", "purchase", "--occurred-at", "{{ date }}", "--date-format", "%Y%m%d"]
    command += ["--payload", "total={{ total | float }}", "--profile", "email_address=c{{ customer_id }}@example.org"]
    result = CliRunner().invoke(build_app(), command)
    assert result.exit_code == 0, result.output
    assert "whitespace-separated, gzip, header, columns: customer_id, date, total" in result.output
    assert "1 x time does not fit --date-format %Y%m%d" in result.output
    assert "orders.gz.rejected.jsonl" in result.output
    again = CliRunner().invoke(build_app(), command)
    assert "known from before" in again.output

    wrong = CliRunner().invoke(build_app(), ["import-events", str(tmp_path / "gone.csv"), "--type", "x"])
    assert wrong.exit_code == 1
    assert "gone.csv: no such file" in wrong.output
    for option, said in (
        (["--payload", "total"], "expected KEY=TEMPLATE"),
        (["--format", "xml"], "expected one of csv, whitespace, jsonl"),
    ):
        result = CliRunner().invoke(build_app(), [*command[:4], *option])
        assert result.exit_code == 1
        assert said in result.output


@pytest.mark.skipif(not CDNOW.exists(), reason="the CDNOW file is not beside the repository")
def test_real_purchases_with_their_255_equal_lines(db: sa.Engine, tmp_path: Path) -> None:
    shape = detect(CDNOW)
    mapping = RowMapping(MappingOptions(type="purchase", occurred_at="date", date_format="%Y%m%d"), shape.columns)
    rejects = tmp_path / "rejected.jsonl"
    first = import_events(db, CDNOW, shape, mapping, rejects=rejects)
    assert (first.rows, first.queued, first.rejected) == (69_659, 69_659, 0)
    second = import_events(db, CDNOW, shape, mapping, rejects=rejects)
    assert (second.queued, second.known) == (0, 69_659)
    with db.connect() as conn:
        repeated = sa.select(sa.func.count()).select_from(event_inbox).where(event_inbox.c.source_event_id.not_like("%-1"))
        assert conn.execute(repeated).scalar_one() == 255
        # identity order = file order
        in_order = sa.select(event_inbox.c.customer_id).order_by(event_inbox.c.id)
        ids = list(conn.execute(in_order).scalars())
    assert ids == sorted(ids)
