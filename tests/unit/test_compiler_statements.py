"""Rules that every statement of the engine keeps; each was broken on a real database before it was written down."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from compiled import all_statements, everything, listed, parts, shipped

from journey_pipelines.compiler.statement import lit

STATEMENTS = all_statements()
NAMES = [name for name, _ in STATEMENTS]
# what writes tables from inside a function
WRITERS = {"journeys.apply_profiles": "journeys.customer_profiles", "journeys.apply_segments": "journeys.segment_memberships"}

every_statement = pytest.mark.parametrize("sql", [sql for _, sql in STATEMENTS], ids=NAMES)


def targets(sql: str) -> list[str]:
    """The tables a text writes, one entry a place."""
    found = re.findall(r"(?:INSERT INTO|DELETE FROM|UPDATE|MERGE INTO|TRUNCATE)\s+(journeys\.\w+|batch_events)", sql)
    return found + [table for function, table in WRITERS.items() for _ in range(sql.count(function + "("))]


def test_there_is_something_to_look_at() -> None:
    assert len(STATEMENTS) > 50
    kinds = {name.rsplit(": ", 1)[-1] for name in NAMES}
    assert {"enter", "refresh", "restart", "goal", "exit", "exit, take back unsent", "wake", "advance", "arrive", "take.sql"} <= kinds
    written = {table for _, sql in STATEMENTS for table in targets(sql)}
    assert {"journeys.customer_journeys", "journeys.messages", "journeys.customer_profiles", "journeys.segment_memberships", "journeys.tasks"} <= written


@every_statement
def test_no_statement_asks_the_wall_clock(sql: str) -> None:
    clocks = (
        r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|clock_now)\s*\(|\b(current_(date|time|timestamp)|localtime(stamp)?)\b"
        r"|'(now|today|tomorrow|yesterday|allballs)'"
    )
    assert re.search(clocks, sql, re.IGNORECASE) is None


@every_statement
def test_nothing_is_random(sql: str) -> None:
    assert re.search(r"\b(random|gen_random_uuid|setseed|nextval|TABLESAMPLE)\b", sql, re.IGNORECASE) is None


@every_statement
def test_a_table_is_the_target_of_one_writing_cte_at_most(sql: str) -> None:
    """Sibling CTEs have no order: a second update of a row vanishes silently."""
    assert [table for table, n in Counter(targets(sql)).items() if n > 1] == []


@every_statement
def test_a_writing_cte_is_not_written_inside_another(sql: str) -> None:
    for text in parts(sql).values():
        assert len(targets(text)) <= 1 or not any(targets(text.split("RETURNING")[0])), text


@every_statement
def test_journey_columns_come_from_the_claiming_cte_alone(sql: str) -> None:
    """A second reference to the table would see another version of the row than the one that was claimed."""
    readers = [name for name, text in parts(sql).items() if re.search(r"(FROM|JOIN|,)\s+journeys\.customer_journeys\b", text)]
    assert len(readers) <= 1
    assert set(readers) <= {"due", "hit", "found", "counted", "candidates", ""}, readers
    # a CTE that moves journeys takes them by the id that was claimed, and brings nothing of its own but what stays as it is
    for name, text in parts(sql).items():
        if "UPDATE journeys.customer_journeys" in text and name != "failed":
            assert re.search(r"WHERE (journeys\.)?customer_journeys\.id = (hit|moves|found)\.\w+", text), text
            own = set(re.findall(r"(\w+)\s*=\s*[^,]*?journeys\.customer_journeys\.(\w+)", text.split("WHERE")[0]))
            assert all(set_ == read for set_, read in own), own


@every_statement
def test_what_is_done_to_many_is_bounded_or_within_the_batch(sql: str) -> None:
    """Every statement starts from the batch's events, from given rows, or stops at a limit."""
    claimed = ("batch_events", "LIMIT", "ANY (%(ids)s", "= %(id)s", "= %(seq)s", "unnest(%(shards)s")
    assert any(mark in sql for mark in claimed)


@every_statement
def test_values_of_users_are_parameters(sql: str) -> None:
    """Quoted text in a statement is the engine's: words of its own, never something a workflow says."""
    said = {"gold", "silver", "vip", "lapsed", "cart_id", "purchase", "cart", "emptied", "everything", "Hello", "carts", "offers"}
    quoted = set(re.findall(r"'((?:[^']|'')*)'", sql))
    assert not quoted & said


@pytest.mark.parametrize("value", ["it's", "a%b", "a:b", "back\\slash"])
def test_what_could_end_a_literal_is_no_constant(value: str) -> None:
    with pytest.raises(ValueError, match="not an engine constant"):
        lit(value)


def test_statements_name_what_they_need() -> None:
    for project, workflow in ((everything(), "everything"), (shipped(), "cart_recovery")):
        for statement in listed(project, workflow):
            given = {name: name for name in statement.needs}
            # every placeholder has a value, and nothing is bound that is not used
            assert set(re.findall(r"%\((\w+)\)s", statement.sql)) == set(statement.bind(given))
            assert statement.needs <= {"now", "shards", "row_limit", "ids", "round", "low", "high", "salt", "default_zone", "versions"}
            assert "%(" not in statement.readable()
