"""Rules that every statement of the engine keeps; each was broken on a real database before it was written down."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from compiled import all_statements, everything, listed, parts, shipped

from journey_pipelines.compiler.statement import lit

# what writes tables from inside a function
WRITERS = {"journeys.apply_profiles": "journeys.customer_profiles", "journeys.apply_segments": "journeys.segment_memberships"}
CLOCKS = re.compile(
    r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|clock_now)\s*\(|\b(current_(date|time|timestamp)|localtime(stamp)?)\b"
    r"|'(now|today|tomorrow|yesterday|allballs)'",
    re.IGNORECASE,
)
RANDOM = re.compile(r"\b(random|gen_random_uuid|setseed|nextval|TABLESAMPLE)\b", re.IGNORECASE)
#: what makes a statement's work grow with its batch: the batch's events, rows given by id, a limit
BOUNDS = ("batch_events", "LIMIT", "ANY (%(ids)s", "= %(id)s", "= %(seq)s", "unnest(%(shards)s", "last_value", "= %(tid)s")
SAID = {"gold", "silver", "vip", "lapsed", "cart_id", "purchase", "cart", "emptied", "everything", "Hello", "carts", "offers"}


def targets(sql: str) -> list[str]:
    """The tables a text writes, one entry a place."""
    found = re.findall(r"(?:INSERT INTO|DELETE FROM|UPDATE|MERGE INTO|TRUNCATE)\s+(journeys\.\w+|batch_events)", sql)
    return found + [table for function, table in WRITERS.items() for _ in range(sql.count(function + "("))]


def offenders(wrong: Callable[[str], object]) -> dict[str, object]:
    """Statement -> what is wrong with it."""
    return {name: found for name, sql in all_statements() if (found := wrong(sql))}


def test_there_is_something_to_look_at() -> None:
    names = [name for name, _ in all_statements()]
    assert len(names) > 50
    kinds = {name.rsplit(": ", 1)[-1] for name in names}
    assert {"enter", "refresh", "restart", "goal", "exit", "exit, take back unsent", "wake", "advance", "arrive", "take.sql"} <= kinds
    written = {table.removeprefix("journeys.") for _, sql in all_statements() for table in targets(sql)}
    assert {"customer_journeys", "messages", "customer_profiles", "segment_memberships", "tasks", "batch_events"} <= written


def test_no_statement_asks_the_wall_clock_or_chance() -> None:
    assert offenders(CLOCKS.findall) == {}
    assert offenders(RANDOM.findall) == {}


def test_a_table_is_the_target_of_one_writing_cte_at_most() -> None:
    """Sibling CTEs have no order: a second update of a row vanishes silently."""
    assert offenders(lambda sql: [table for table, n in Counter(targets(sql)).items() if n > 1]) == {}


def test_a_cte_writes_one_table() -> None:
    assert offenders(lambda sql: [name for name, text in parts(sql).items() if name and len(targets(text)) > 1]) == {}


def test_journey_columns_come_from_the_claiming_cte_alone() -> None:
    """A second reference to the table would see another version of the row than the one that was claimed."""

    def wrong(sql: str) -> object:
        readers = {name for name, text in parts(sql).items() if re.search(r"(FROM|JOIN|,)\s+journeys\.customer_journeys\b(?!\.)", text)}
        return len(readers) > 1 or readers - {"due", "hit", "found", "counted", "candidates", ""}

    assert offenders(wrong) == {}


def test_a_cte_that_moves_journeys_brings_nothing_of_its_own() -> None:
    """It finds them by the id that was claimed; the only columns it reads of the row are those it leaves as they are."""

    def wrong(sql: str) -> object:
        found = []
        for name, text in parts(sql).items():
            if "UPDATE journeys.customer_journeys" not in text or name == "failed":
                continue
            set_, where = text.split("WHERE", 1)
            if not re.match(r"\s*(journeys\.customer_journeys\.id = (hit|moves|found)\.\w+|j\.id = ANY \(%\(ids\)s)", where):
                found.append(where)
            for assignment in re.split(r",\s*(?=\w+=)", set_):
                name, value = assignment.split("=", 1)
                reads = set(re.findall(r"journeys\.customer_journeys\.(\w+)", value))
                found += [assignment] if reads - {name.split()[-1]} else []
        return found

    assert offenders(wrong) == {}


def test_what_is_done_is_bounded_by_the_batch() -> None:
    assert offenders(lambda sql: not any(mark in sql for mark in BOUNDS)) == {}


def test_a_look_up_that_is_named_many_times_is_made_once() -> None:
    """The condition of an action, two ways, the rule that is told and the values that were seen: nine places."""
    (sql,) = (text for name, text in all_statements() if name == "every_wait/lost: advance")
    assert (sql.count("FROM journeys.customer_events"), sql.count("FROM journeys.segment_memberships")) == (1, 1)


def test_values_of_users_are_parameters() -> None:
    """Quoted text in a statement is the engine's, never something a workflow says."""
    assert offenders(lambda sql: SAID & set(re.findall(r"'((?:[^']|'')*)'", sql))) == {}


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
            known = {"now", "due_from", "shards", "row_limit", "ids", "round", "low", "high", "salt", "default_zone", "versions"}
            assert statement.needs <= known
            assert "%(" not in statement.readable()
