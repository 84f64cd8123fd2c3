"""Jinja over plain values and the compiled SQL over rows give the same, for whatever Hypothesis writes into either."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from expression_rows import CATALOGUE, KEYS, START, Case, cases, dumps, oracle, rows, same, scope_of_cases, special_texts, store, texts
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from journey_pipelines.expressions import ExpressionError, Scope, compile_condition, compile_value, values
from journey_pipelines.expressions.environment import customer_names, evaluate, event_names
from journey_pipelines.expressions.facts import Facts
from journey_pipelines.store.tables import customer_profiles


def quoted(text: str) -> str:
    escaped = text.encode("unicode_escape").decode().replace("'", "\\'")
    return f"'{escaped}'"


# -- what workflows may say

paths = st.sampled_from([
    *(f"event.{key}" for key in KEYS if not key.isdigit()),
    "event.l[0]", "event.l[-1]", "event.o.k", "event.o['items']", "event.x[0].k", "event.o.items[1]", "event['0']", "event.x['0']",
    "event.s[0]",
    "event.type", "event.occurred_at", "arrived.n", "arrived.x", "arrived.type", "arrived.occurred_at", "customer.first_name",
    "customer.country",
    "customer.lifetime_value", "customer.created_at", "customer.plan", "customer.score", "customer.vip", "customer.renewal",
    "customer.seen",
    "steps.score.status", "steps.score.response", "steps.score.response.grade", "steps.call['outcome']", "steps.never.status",
    "customer.misc", "customer.misc.k", "journey.visit", "journey.entered_at", "brand.name", "brand.vat", "now",
])  # fmt: skip


literals = (
    st.sampled_from(["0", "1", "2", "2.5", "0.1", "100", "1e3", "999999999999999", "0.000000000001", "true", "false", "none"])
    | special_texts.map(quoted)
    | texts.map(quoted)
)
windows = st.lists(
    st.sampled_from(["within='3 days'", "within='36 hours'", "since='entry'", "since='step'", "since=event.t"])
    | st.sampled_from([r"when='event.n > 1'", r"when='event.x == customer.first_name'", r"when='not event.b and in_segment(\'vip\')'"])
    | st.sampled_from([r"when='in_workflow(\'welcome\') or event.n == 1'", r"when='steps.score.status == event.n or not steps.call'"]),
    max_size=2,
    unique_by=lambda text: text.split("=")[0],
)
types = st.sampled_from(["purchase", "visit", "message.clicked", "task.done", "never"]).map(quoted)
lookups = st.one_of(
    st.builds(
        lambda name, kind, window: f"{name}({', '.join([kind, *window])})",
        st.sampled_from(["has_event", "event_count", "last_event"]),
        types,
        windows,
    ),
    st.builds(lambda *given: f"event_sum({', '.join([*given[:2], *given[2]])})", types, st.sampled_from(["'n'", "'x'", "'o.k'"]), windows),
    st.sampled_from(["in_segment('vip')", "in_segment('none')", "clicked('remind')", "clicked('offer', 'mail')", "opened('remind')"]),
    st.sampled_from(["local_hour()", "local_weekday()", "in_workflow('welcome')", "in_workflow('none')"]),
    st.sampled_from(["(steps.score is defined)", "(not steps.call)", "(steps.score.status if steps.score else 'none')"]),
)


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    comparison = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in"])
    form = "date('%d.%m.%Y %H:%M:%S %B %b %A %a %e \\\\\" %%')"
    filters = st.sampled_from(["lower", "upper", "trim", "length", "int", "float", "round", "round(2)", "date", form])
    tests = st.sampled_from(["defined", "undefined", "none", "string", "number"])
    held = st.sampled_from(["in", "not in"])
    return st.one_of(
        st.builds("({} {} {})".format, inner, comparison, inner),
        st.builds("({} {} {} {} {})".format, inner, comparison, inner, comparison, inner),
        st.builds(lambda a, op, items: f"({a} {op} [{', '.join(items)}])", inner, held, st.lists(inner, max_size=4)),
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("(not {})".format, inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/"]), inner),
        st.builds("(-{})".format, inner),
        st.builds("({} ~ {})".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({} if {})".format, inner, inner),
        st.builds("({} | default({}))".format, inner, inner),
        st.builds("({} | default({}, true))".format, inner, inner),
        st.builds("({} | {})".format, inner, filters),
        st.builds("({} is {}{})".format, inner, st.sampled_from(["", "not "]), tests),
        st.builds("{}({})".format, st.sampled_from(["days_since", "days_until"]), inner),
        st.builds("add({}, '{}')".format, inner, st.sampled_from(["7 days", "90 minutes", "1.5 hours", "36500 days"])),
    )


expressions = st.recursive(paths | paths | literals | lookups, larger, max_leaves=6)
# analysis refuses these on purpose; whatever else it refuses is a fault of the generator or of the language
EXPECTED_REFUSALS = ("is a time in one case", "texts are joined with ~", "is for numbers", "nothing can be compared with a list")


@pytest.fixture
def scope() -> Scope:
    return scope_of_cases()


@pytest.fixture
def rolled_back(db: sa.Engine) -> Iterator[sa.Connection]:
    with db.connect() as conn:
        # evaluating in Python between two statements may take a while on a busy machine
        conn.execute(sa.text("SET idle_in_transaction_session_timeout = 0"))
        cases.create(conn)
        conn.commit()
        yield conn
        conn.rollback()


def test_jinja_and_sql_agree(rolled_back: sa.Connection, scope: Scope) -> None:
    seen = {"compared": 0}

    @settings(max_examples=40, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(expressions, min_size=15, max_size=30), st.lists(rows(), min_size=3, max_size=8))
    def agree(given_texts: list[str], given_rows: list[Case]) -> None:
        compiled = [(text, *both) for text in given_texts if (both := compiled_or_refused(text, scope))]
        if not compiled:
            return
        with rolled_back.begin():
            store(rolled_back, given_rows)
            columns = [sql for _, value, condition in compiled for sql in (value.as_jsonb(), value.as_text(), condition.sql.is_(sa.true()))]
            labelled = [sa.cast(column, sa.Text()).label(f"c{number}") for number, column in enumerate(columns)]
            joined = cases.outerjoin(customer_profiles, customer_profiles.c.customer_id == cases.c.customer_id)
            found = {row.id: row for row in rolled_back.execute(sa.select(cases.c.id, *labelled).select_from(joined))}
            where = sa.select(cases.c.id).select_from(joined).where(compiled[0][2].sql)
            chosen = set(rolled_back.scalars(where))
            rolled_back.rollback()
        for index, case in enumerate(given_rows):
            names, functions = oracle(index, case)
            for number, (text, _, _) in enumerate(compiled):
                expected = evaluate(text, names, functions)
                value, as_text, condition = found[index][1 + 3 * number : 4 + 3 * number]
                note(f"{text!r} over {case}: oracle {expected!r}, SQL {value!r}, as text {as_text!r}, as condition {condition!r}")
                assert same(expected, value), f"{text}: Jinja {expected!r}, SQL {value!r}"
                assert values.text_of(expected) == as_text, f"{text} as text: Jinja {values.text_of(expected)!r}, SQL {as_text!r}"
                assert (condition == "true") is values.truth(expected), f"{text} as condition: Jinja {expected!r}, SQL {condition!r}"
                seen["compared"] += 1
            assert (index in chosen) is values.truth(evaluate(compiled[0][0], names, functions)), f"WHERE {compiled[0][0]}"

    agree()
    assert seen["compared"] > 1_000


BINARY = [
    "a == b", "a != b", "a < b", "a <= b", "a > b", "a >= b", "not a < b", "a in b", "a not in b", "a in [b]", "a not in [b, 2, 'x']",
    "a + b", "a - b", "a * b", "a / b", "a ~ b", "a and b", "a or b", "a | default(b)", "a | default(b, true)", "a if b else 0",
]  # fmt: skip
UNARY = [
    "a", "not a", "-a", "a | lower", "a | upper", "a | trim", "a | length", "a | int", "a | float", "a | round", "a | round(1)", "a | date",
    "a is defined", "a is none", "a is string", "a is number", "days_since(a)", "days_until(a)", "add(a, '1 day')",
    "a[0]", "a['0']", "a.k", "a[-1].k",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, "", "x", "X", "ä", "Ä", "z", "2", " 2.50 ", "2026-03-01", "2026-03-01T00:00:00+00:00", "2026-02-30", "now", "true",
    "k", "0",
    *map(Decimal, ["0", "2", "2.0", "-2.5", "0.05", "1e15", "999999999999999.9999999999999", "1e-20", "33.3333333333335"]),
    [], [Decimal(2), "x", None], ["2026-03-01"], [["x"]], {}, {"k": Decimal(2)}, {"k": None, "0": "x"}, [{"k": "z"}],
]  # fmt: skip
# more digits than a number written out may have
TOO_LONG = (Decimal("1e15"), Decimal("999999999999999.9999999999999"))
AS_LITERAL = [value for value in VALUES if not isinstance(value, list | dict) and value not in TOO_LONG]


def test_every_operator_on_every_pair_of_values(rolled_back: sa.Connection, scope: Scope) -> None:
    """Both sides JSON of unknown type, one side written out, one side a typed column."""
    pairs = list(itertools.product(VALUES, VALUES))
    rows = [
        {
            "id": number,
            "payload": dumps({"a": a, "b": b}),
            "attributes": dumps({"plan": a, "score": a, "vip": a, "renewal": a}),
            "start": START,
        }
        for number, (a, b) in enumerate(pairs)
    ]
    rolled_back.execute(
        sa.text(
            "INSERT INTO cases (id, customer_id, payload, type, occurred_at, at, at_seq) "
            "VALUES (:id, 'c' || :id, CAST(:payload AS jsonb), 'cart', :start, :start, 1)"
        ),
        rows,
    )
    rolled_back.execute(
        sa.text(
            "INSERT INTO journeys.customer_profiles (customer_id, shard, attributes, updated_at) "
            "SELECT 'c' || :id, 0, CAST(:attributes AS jsonb), :start WHERE :id % :width = 0"
        ),
        [{**row, "width": len(VALUES)} for row in rows],
    )
    typed = [f"customer.{name}" for name in ("plan", "score", "vip", "renewal")]
    spelled = {None: "none", True: "true", False: "false"}
    literals = [quoted(value) if isinstance(value, str) else spelled.get(value, str(value)) for value in AS_LITERAL]
    texts = [with_operands(form, a, b) for a in typed for b in ("event.a", "customer.plan", "customer.renewal") for form in BINARY]
    texts += [with_operands(form, *order) for value in literals for form in BINARY for order in (("event.a", value), (value, "event.a"))]
    texts += [with_operands(form, a, a) for a in ("event.a", *typed) for form in UNARY]
    texts += [with_operands(form, value, value) for value in literals for form in UNARY if "a[" not in form and "a." not in form]
    total = agreeing(rolled_back, scope, [with_operands(form, "event.a", "event.b") for form in BINARY], pairs)
    for start in range(0, len(texts), 150):
        total += agreeing(rolled_back, scope, texts[start : start + 150], pairs)
    assert total > 50_000


def with_operands(form: str, a: str, b: str) -> str:
    return re.sub(r"\b[ab]\b", lambda name: a if name[0] == "a" else b, form)


def agreeing(conn: sa.Connection, scope: Scope, texts: list[str], pairs: list[tuple[Any, Any]]) -> int:
    compiled = {text: both for text in texts if (both := compiled_or_refused(text, scope))}
    columns = [sql for value, condition in compiled.values() for sql in (value.as_jsonb(), condition.sql.is_(sa.true()))]
    joined = cases.outerjoin(customer_profiles, customer_profiles.c.customer_id == cases.c.customer_id)
    query = sa.select(cases.c.id, *(sa.cast(column, sa.Text()).label(f"c{n}") for n, column in enumerate(columns))).select_from(joined)
    # what looks at one value only needs one row for each, and only those have a profile
    whole = any("event.b" in text for text in texts)
    found = conn.execute(query if whole else query.where(cases.c.id % len(VALUES) == 0)).all()
    for row in found:
        a, b = pairs[row.id]
        profile = {"attributes": {"plan": a, "score": a, "vip": a, "renewal": a}} if row.id % len(VALUES) == 0 else {}
        names = {"customer": customer_names(profile, CATALOGUE), "event": event_names("cart", START, {"a": a, "b": b}), "now": START}
        functions = Facts(now=START, at=START, at_seq=1).functions(names)
        for number, text in enumerate(compiled):
            expected = evaluate(text, names, functions)
            value, condition = row[1 + 2 * number : 3 + 2 * number]
            assert same(expected, value), f"{text} with a={a!r}, b={b!r}: Jinja {expected!r}, SQL {value!r}"
            assert (condition == "true") is values.truth(expected), (
                f"{text} with a={a!r}, b={b!r} as condition: {expected!r}, SQL {condition!r}"
            )
    return len(found) * len(compiled)


def compiled_or_refused(text: str, scope: Scope) -> tuple[Any, Any] | None:
    try:
        return compile_value(text, scope), compile_condition(text, scope)
    except ExpressionError as refused:
        assert any(reason in refused.message for reason in EXPECTED_REFUSALS), f"{text}: {refused}"
        return None
