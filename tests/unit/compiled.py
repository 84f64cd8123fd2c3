"""Compiled statements for the tests of the compiler: those of the shipped workflows, of one that uses everything, and the engine's own."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from journey_pipelines.compiler.dates import follow_statement, plan_statement
from journey_pipelines.compiler.entry import entry_statements
from journey_pipelines.compiler.identity import arrival_uid, date_uid, step_uid
from journey_pipelines.compiler.people import round_people
from journey_pipelines.compiler.plan import statements
from journey_pipelines.compiler.statement import Statement
from journey_pipelines.compiler.step import arrive_statements, step_statements
from journey_pipelines.engine.policies import surroundings
from journey_pipelines.workflows.load import Project, load_project
from journey_pipelines.workflows.model import DateTrigger, DateWait

SHIPPED = Path(__file__).parents[2] / "workflow_defs"

EVERYTHING = """
workflow: everything
topic: offers
priority: 7
triggers:
  - id: first
    event: cart
    when: event.total > 10 and has_event('purchase', within='30 days') and customer.plan in ['gold', 'silver']
  - id: second
    event: purchase
    when: event_count('purchase') > 2 or in_segment('vip')
entry:
  when: customer.lifetime_value >= 0 and days_since(customer.created_at) > 3
  key: event.cart_id
  reentry: {after: 7 days, of: exit, max: 3}
  while_active: restart
hold_out: 12.5%
goal: {event: purchase, match: cart_id, when: arrived.total > 0, value: arrived.total, within: 7 days}
exit:
  - goal
  - {event: emptied, match: cart_id}
  - {event: unsubscribed, when: arrived.channel | default('all') == 'all'}
steps:
  - id: start
    wait: 1 month
    do:
      - send_email: {template: hello, subject: "Hello {{ customer.first_name | default('you') }}", expires: 2 days}
      - send_sms: {text: "Total {{ event.total }}", when: event.total > 20}
      - send_push: {title: Hello, text: There}
      - webhook_call: {url: "https://api.example.org/x", method: POST}
  - id: patch
    do:
      - update_profile:
          set: {plan: "{{ event.plan }}", vip: true, note: "was {{ customer.plan | default('none') }}"}
          unset: [colour]
          increment: {carts: 1, spent: "{{ event.total }}"}
      - add_to_segment: vip
      - remove_from_segment: lapsed
      - create_task: {title: "Call {{ customer.first_name | default('them') }}", assignee: sales, due: 2 days, when: event.total > 100}
    next: settle
  - id: settle
    wait: {for: [message.clicked, cart], match: cart_id, when: arrived.total > event.total, timeout: 1 day, since: entry}
    next:
      - when: arrived.type == 'message.clicked' or clicked('start')
        to: arms
      - when: journey.visit > 3
        to: end
      - else: again
  - id: again
    wait: {for: message.opened, timeout: 2 hours, any: true}
    next: arms
  - id: arms
    next:
      split: {last: 60, end: 40}
  - id: last
    wait: 90 minutes
    next: end
"""

#: every form of wait, ways back, and everything that ends a journey at a step
EVERY_WAIT = """
workflow: every_wait
max_age: 300 days
triggers:
  - event: go
  - {id: birthday, date: customer.birthday, offset: -7 days, at: "09:00", yearly: true}
  - {id: renewal, date: customer.renews}
exit:
  - when: customer.subscription_status == 'cancelled'
  - when: customer.plan == 'gold' and days_since(customer.created_at) > 400
steps:
  - id: morning
    wait: {after: 1 day, until: "09:00", on: [mon, thu]}
    do: [{send_sms: {text: Hello}}]
  - {id: night, wait: {after: 1 month, between: ["22:00", "06:00"], on: weekdays}}
  - {id: sunday, wait: {on: [sun]}}
  - id: best
    wait: {after: 2 hours, best_time: true, within: 24 hours}
    do:
      - update_profile: {set: {asked: true}}
      - add_to_segment: vip
  - id: dated
    wait: {date: customer.trial_end, offset: -3 days, at: "10:00", missing: lost, past: skip}
    do:
      - send_sms: {text: Hello}
      - create_task: {title: Call}
      - emit_event: {type: warned, payload: {total: "{{ event.total }}"}}
    next: {split: {ask: 50, lost: 50}}
  - id: ask
    wait: {for: [webhook.answered, task.done, message.clicked, reply], timeout: 2 days}
    next:
      - {when: arrived, to: end}
      - {else: again}
  - id: again
    wait: {date: event.starts_at, past: lost, missing: end}
    next: {to: ask, max_visits: 3, then: lost}
  - id: lost
    wait: 1 second
    do: [{send_sms: {text: Hello, when: "event_count('order', within='30 days') > 2"}}]
    next:
      - {when: "event_count('order', within='30 days') > 5", to: end}
      - {when: "in_segment('vip') or event_count('order', within='30 days') > 2", to: gone}
      - {else: end}
  - {id: gone, wait: 1 second, next: end}
"""


@cache
def shipped() -> Project:
    project = load_project(SHIPPED)
    assert not project.errors, "\n".join(map(str, project.errors))
    return project


@cache
def everything() -> Project:
    with TemporaryDirectory() as folder:
        for name, text in (("everything", EVERYTHING), ("every_wait", EVERY_WAIT)):
            place = Path(folder) / name
            place.mkdir()
            (place / "workflow.yaml").write_text(text)
        (Path(folder) / "everything" / "hello.html").write_text("<p>{{ event.total }}</p>")
        project = load_project(folder)
    assert not project.errors, "\n".join(map(str, project.errors))
    return project


def listed(project: Project, workflow_id: str, version: int = 1) -> list[Statement]:
    """What `journeys sql` shows."""
    loaded = project.workflow(workflow_id)
    assert loaded is not None
    return list(statements(loaded.definition, version, surroundings(project)))


@cache
def all_statements() -> list[tuple[str, str]]:
    """(name, SQL) of everything the engine may run: every statement of every workflow, claimed by scan and by id, and the fixed files."""
    found = [(path.name, _without_comments(path.read_text())) for path in _fixed_files()]
    for project in (shipped(), everything()):
        around = surroundings(project)
        for loaded in project.workflows:
            definition = loaded.definition
            found += [(s.name, s.sql) for s in listed(project, definition.workflow.id)]
            entry = entry_statements(definition, 2, around)
            found += [(s.name, s.sql) for s in (entry.refresh, entry.restart, entry.enter) if s]
            for step in definition.workflow.steps:
                chosen = step_statements(definition, step, step_uid(definition, step), around).chosen
                found.append((f"{chosen.name}, by id", chosen.sql))
                if arrival_uid(definition, step) != step_uid(definition, step):
                    chosen = arrive_statements(definition, step, arrival_uid(definition, step), around).chosen
                    found.append((f"{chosen.name}, by id", chosen.sql))
                if isinstance(step.wait, DateWait):
                    follow = follow_statement(definition, step, step_uid(definition, step), around)
                    found.append((follow.name, follow.sql))
            for trigger in definition.workflow.triggers:
                if isinstance(trigger, DateTrigger):
                    plan = plan_statement(definition, trigger, date_uid(definition, trigger), around, round_people(sa.true()))
                    found.append((plan.name, plan.sql))
    return found


def _fixed_files() -> list[Path]:
    with resources.as_file(resources.files("journey_pipelines.engine") / "sql") as folder:
        return sorted(folder.glob("*.sql"))


def _without_comments(sql: str) -> str:
    return "\n".join(line.split("--")[0] for line in sql.splitlines())


def parts(sql: str) -> dict[str, str]:
    """CTE name -> its text, and '' -> the statement they stand before. Brackets inside quotes do not occur in our SQL's CTE heads."""
    found: dict[str, str] = {}
    place = 0
    head = re.compile(r"\s*(?:WITH\s+|,\s*)(\w+)\s+AS\s+(?:MATERIALIZED\s+)?\(")
    while match := head.match(sql, place):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        found[match[1]] = sql[match.end() : end - 1]
        place = end
    found[""] = sql[place:]
    return found
