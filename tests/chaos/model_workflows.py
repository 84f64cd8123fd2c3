"""The hard workflows of the model test: every rule about order, waits and re-entry in a place where it is easily got wrong.

Each is written twice, (A, B): the machine deploys the one or the other at any time, and journeys stay on the version they began with.
No condition of a step reads what another journey's step writes, unless something is told of it: what is not told has no order within a
tick (customer.* and in_segment are as known when processed).
"""

from __future__ import annotations

from model_moments import DATES, SEGMENTS, TIMES

CART = """
workflow: cart
triggers:
  - id: full
    event: cart
    when: event.total > 20 and not has_event('emptied', within='2 hours')
  - id: any
    event: cart
    when: event_count('cart') > 1
entry:
  when: customer.plan != 'none'
  key: event.cart
  reentry: {{after: 3 hours, of: exit, max: 4}}
  while_active: restart
  max_lateness: 6 hours
hold_out: 30%
goal: {{event: purchase, match: cart, when: arrived.total > 0, value: arrived.total, within: 2 days}}
exit:
  - goal
  - {{event: emptied, match: cart}}
  - event: unsubscribed
steps:
  - id: pause
    wait: {wait}
  - id: remind
    do:
      - send_email: {{template: hello, subject: Hello}}
      - send_sms: {{text: "Total {{{{ event.total }}}}", when: event.total > 50}}
      - update_profile: {{increment: {{reminders: 1}}, set: {{last_cart: "{{{{ event.cart }}}}"}}}}
      - add_to_segment: reminded
  - id: settle
    wait: {{for: [cart, message.clicked, purchase], match: cart, timeout: 1 day}}
    next:
      - when: arrived.type == 'cart' and arrived.total > event.total
        to: arms
      - when: event.total > {limit} or clicked('remind')
        to: late
      - else: end
  - id: arms
    next: {{split: {{late: 60, end: 40}}}}
  - id: late
    wait: {{for: noted, timeout: 6 hours, since: entry}}
    do:
      - send_push: {{title: Late, text: Late, when: arrived}}
"""

FRESH = """
workflow: fresh
triggers:
  - event: signup
  - event: noted
    when: in_segment('reminded')
entry:
  reentry: {reentry}
  while_active: refresh
  max_lateness: 30 days
goal: {{event: purchase, value: arrived.total}}
exit:
  - event: unsubscribed
    when: event.level > 1 or days_since(journey.entered_at) > 20
steps:
  - id: day
    wait: 1 day
    do:
      - send_email: {{template: hello, subject: Hello, when: local_hour() < 12 or event.level == 1}}
  - id: month
    wait: {wait}
    do:
      - update_profile: {{set: {{stage: "{{{{ event.level }}}}"}}, unset: [trial]}}
    next:
      - when: has_event('purchase', since='entry') and not has_event('cart', since='step')
        to: thank
      - when: event_sum('purchase', 'total', within='30 days') > 60
        to: month_again
      - else: end
  - id: month_again
    wait: 2 weeks
    next: end
  - id: thank
    do:
      - send_email: {{template: hello, subject: Thanks}}
      - add_to_segment: buyers
"""

ALWAYS = """
workflow: always
triggers:
  - event: purchase
entry:
  reentry: {reentry}
exit:
  - {{event: emptied, match: cart}}
steps:
  - id: now
    do:
      - send_sms: {{text: Thanks}}
      - update_profile: {{increment: {{bought: "{{{{ event.total }}}}"}}}}
    next:
      - when: event_count('purchase') > 2 and event_sum('purchase', 'total') > 50
        to: big
      - else: wait
  - id: wait
    wait: {{for: noted, timeout: {wait}, when: arrived.level > 0}}
    next:
      - when: arrived
        to: big
      - else: end
  - id: big
    wait: 45 minutes
    do:
      - send_email: {{template: hello, subject: Big}}
    next: end
"""

AGAIN = """
workflow: again
triggers:
  - event: noted
entry:
  reentry: after exit
  max_lateness: 30 days
exit:
  - event: noted
    when: arrived.level > 2
steps:
  - id: first
    wait: {{for: [noted, signup], timeout: {wait}}}
    next:
      - when: arrived.type == 'noted'
        to: second
      - when: arrived
        to: third
      - else: end
  - id: second
    next: third
  - id: third
    wait: {{for: purchase, timeout: 5 days, since: entry, when: arrived.total > 10}}
    do:
      - send_push: {{title: Hello, text: Hello}}
"""

CALENDAR = """
workflow: calendar
triggers:
  - event: signup
entry:
  reentry: {{after: 1 day, of: entry}}
steps:
  - id: days
    wait: {wait}
    do:
      - send_sms: {{text: Hello}}
  - id: arms
    next: {{split: {{mixed: {share}, end: {rest}}}}}
  - id: mixed
    wait: 1 day 6 hours
    do:
      - send_email: {{template: hello, subject: Hello}}
"""

EVENTS: dict[str, tuple[str, str]] = {
    "cart": (
        CART.format(wait="1 hour", limit=40),
        CART.format(wait="{for: noted, timeout: 50 minutes}", limit=20),
    ),
    "fresh": (FRESH.format(reentry="never", wait="1 month"), FRESH.format(reentry="{after: 10 days, of: entry}", wait="31 days")),
    "always": (ALWAYS.format(reentry="always", wait="3 hours"), ALWAYS.format(reentry="{after: 2 hours, of: entry}", wait="1 day")),
    "again": (AGAIN.format(wait="2 days"), AGAIN.format(wait="90 minutes")),
    "calendar": (CALENDAR.format(wait="2 days", share=60, rest=40), CALENDAR.format(wait="1 month", share=20, rest=80)),
}

WINDOWS = """
workflow: windows
triggers:
  - event: cart
entry:
  key: event.cart
  reentry: always
max_age: 40 days
steps:
  - id: nine
    wait: {{after: {after}, until: "{until}", on: [mon, thu, sun]}}
    do:
      - send_sms: {{text: Nine}}
  - id: night
    wait: {{after: 45 minutes, between: ["{start}", "{end}"], on: weekdays}}
    do:
      - send_sms: {{text: Night}}
  - id: sunday
    wait: {{on: sun}}
    do:
      - send_sms: {{text: Sunday}}
  - id: day
    wait: {{between: ["02:15", "02:45"]}}
    do:
      - send_sms: {{text: Day}}
"""

LOOP = """
workflow: loop
triggers:
  - event: signup
entry:
  while_active: restart
  reentry: {{after: 1 day, of: exit}}
max_age: {age}
exit:
  - event: unsubscribed
steps:
  - id: begin
    wait: 20 minutes
    next: ask
  - id: ask
    wait: {{for: noted, timeout: {wait}}}
    do:
      - send_push: {{title: Well, text: How was it?, when: journey.visit > 1}}
    next:
      - when: arrived
        to: {back}
        max_visits: 3
        then: last
      - else: last
  - id: last
    do:
      - send_email: {{template: hello, subject: Last}}
"""
TASKS = """
workflow: tasks
triggers:
  - event: cart
entry:
  key: event.cart
  reentry: always
hold_out: 20%
exit:
  - event: task.done
    when: arrived.outcome == 'lost' and arrived.visit > 2
steps:
  - id: call
    do:
      - create_task: {{title: Call}}
      - create_task: {{id: write, title: Write, when: event.total > 20}}
    next: called
  - id: called
    wait: {{for: [task.done, noted], timeout: {wait}}}
    do:
      - send_sms: {{text: Done, when: arrived.outcome == 'won'}}
    next:
      - when: arrived.type == 'task.done' and event.total > 20
        to: second
      - when: arrived.type == 'noted' or not arrived
        to: call
        max_visits: 3
        then: second
      - else: end
  - id: second
    wait: {{for: task.done, timeout: 1 day{more}}}
    do:
      - send_email: {{template: hello, subject: Hello, when: steps.call.outcome == 'won' or arrived}}
"""
WAITS: dict[str, tuple[str, str]] = {
    "tasks": (TASKS.format(wait="3 hours", more=", since: entry"), TASKS.format(wait="1 day", more=", any: true")),
    "windows": (
        WINDOWS.format(after="1 day", until="02:30", start="22:00", end="06:00"),
        WINDOWS.format(after="1 minute", until="09:00", start="09:00", end="18:00"),
    ),
    "loop": (LOOP.format(wait="1 hour", back="ask", age="2 days"), LOOP.format(wait="1 day", back="begin", age="36 hours")),
}

ROOT = """
workflow: root
triggers:
  - event: cart
entry:
  reentry: always
exit:
  - event: stop
    when: arrived.of == event.cart
steps:
  - id: tell
    do:
      - emit_event: {{type: {type}, payload: {{of: "{{{{ event.cart }}}}", total: "{{{{ event.total }}}}"}}}}
      - start_workflow: {{workflow: child, payload: {{level: 2}}, when: event.total > 20}}
  - id: wait
    wait: {{for: ended, timeout: {wait}}}
    do:
      - exit_workflow: {{workflow: child}}
      - emit_event: {{type: stop, payload: {{of: k1}}, when: arrived}}
  - id: later
    wait: 10 minutes
    do:
      - start_workflow: {{workflow: child}}
"""

CHILD = """
workflow: child
triggers:
  - id: told
    event: ping
    when: event.total > 0
entry:
  reentry: {reentry}
exit:
  - event: emptied
steps:
  - id: hello
    wait: 5 minutes
    do:
      - send_sms: {{text: Hello}}
      - emit_event: {{type: ended, payload: {{level: "{{{{ event.level }}}}"}}}}
  - id: stay
    wait: {{for: [stop, noted], timeout: 2 hours}}
"""

AFTER = """
workflow: after
triggers:
  - event: journey.ended
    when: event.workflow == 'child' and event.exit_reason != 'error'
  - event: journey.entered
    when: event.workflow == 'root'
entry:
  key: event.workflow
  reentry: {reentry}
goal: {{event: ended}}
steps:
  - id: note
    wait: {wait}
    do:
      - send_push: {{title: Hello, text: Hello}}
"""
EFFECTS: dict[str, tuple[str, str]] = {
    "root": (ROOT.format(type="ping", wait="1 hour"), ROOT.format(type="ended", wait="5 minutes")),
    "child": (CHILD.format(reentry="after exit"), CHILD.format(reentry="always")),
    "after": (AFTER.format(reentry="always", wait="5 minutes"), AFTER.format(reentry="after exit", wait="1 hour")),
}

#: what a life is about -> its workflows
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "events": EVENTS, "segments": SEGMENTS, "times": TIMES, "dates": DATES, "waits": WAITS, "effects": EFFECTS,
}  # fmt: skip
