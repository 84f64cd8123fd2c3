"""Workflows of the model test that hang on moments of a person: segments and conditions, dates and schedules. See `model_workflows`."""

from __future__ import annotations

STATIC = "segment: {name}\nstatic: true\n"
SEGMENT_FILES = {
    "vip": STATIC.format(name="vip"),
    "seen": STATIC.format(name="seen"),
    "gold": "segment: gold\nwhen: customer.points > 10\n",
    "active": "segment: active\nwhen: has_event('purchase', within='3 hours') and in_segment('gold')\n",
    "lapsed": "segment: lapsed\nwhen: days_since(last_event('purchase')) > 2 and event_count('cart', within='10 days') > 0\n",
}

TIMED = """
workflow: timed
triggers:
  - event: signup
  - event: noted
    when: event.level > 0
entry:
  reentry: {reentry}
  while_active: {again}
goal: {{when: "days_since(last_event('cart')) > 0.125 and customer.points > 0", within: 1 day}}
exit:
  - goal
  - when: has_event('purchase') and not has_event('purchase', within='{silence}')
  - when: days_since(journey.entered_at) > {age} and event_count('cart', within='1 day') == 0
  - when: days_since(journey.step_entered_at) > 1.5 or days_until(customer.ends) < 1
steps:
  - id: hello
    do:
      - send_sms: {{text: Hello}}
    next: wait
  - id: wait
    wait: {{for: [purchase, cart], timeout: 1 day}}
    do:
      - send_email: {{template: hello, subject: Hello, when: arrived}}
      - update_profile: {{increment: {{points: 6}}, when: not arrived}}
    next:
      - when: arrived.type == 'cart'
        to: wait
        max_visits: 3
        then: last
      - else: last
  - id: last
    wait: 3 days
    do:
      - send_sms: {{text: Last}}
"""

PLAIN = """
workflow: plain
triggers:
  - event: cart
entry:
  key: event.cart
  reentry: {reentry}
  while_active: refresh
goal: {{when: "event_count('noted', within='3 hours') > 0 and days_since(journey.entered_at) > 0.25", value: event.total}}
exit:
  - when: now > add(journey.entered_at, '{age}') and event.total > 20
  - when: days_since(last_event('purchase')) >= 0.125 and customer.plan == 'none' or days_until(customer.born) < -1
steps:
  - id: hello
    wait: 1 hour
    do:
      - send_sms: {{text: Hello}}
  - id: rest
    wait: 10 days
    do:
      - send_email: {{template: hello, subject: Hello}}
"""

MEMBERS = """
workflow: members
triggers:
  - segment: active
  - {{segment: lapsed, on: leave}}
  - id: welcome
    segment: vip
    when: customer.points >= 0
entry:
  reentry: {reentry}
exit:
  - {{segment: seen, on: leave}}
  - {{segment: lapsed, on: enter}}
steps:
  - id: look
    do:
      - send_sms: {{text: Hello, when: "in_segment('active') and not in_segment('lapsed')"}}
      - add_to_segment: seen
  - id: stay
    wait: {{for: [segment.left, segment.entered], timeout: {wait}, when: "arrived.segment in ['gold', 'active']"}}
    next:
      - when: in_segment('gold')
        to: gold
      - else: poor
  - id: gold
    do:
      - update_profile: {{increment: {{points: -4}}}}
      - add_to_segment: vip
    next: poor
  - id: poor
    wait: 30 minutes
    do:
      - remove_from_segment: vip
    next: end
"""

CONDITIONS = """
workflow: conditions
triggers:
  - condition: event_count('noted', within='1 day') >= {count}
goal: {{when: customer.points > 14}}
exit:
  - goal
  - when: customer.points < 0 or in_segment('vip')
steps:
  - id: first
    wait: {wait}
    do:
      - send_email: {{template: hello, subject: Hello}}
  - id: second
    wait: {{for: cart, timeout: 3 hours}}
    do:
      - send_email: {{template: hello, subject: Hello, when: arrived}}
"""
ECHO = """
workflow: echo
triggers:
  - segment: gold
entry:
  reentry: {{after: 1 hour, of: entry}}
exit:
  - event: quiet
steps:
  - id: call
    do:
      - emit_event: {{type: called, payload: {{points: "{{{{ customer.points }}}}"}}}}
  - id: hear
    wait: {{for: called, timeout: {wait}}}
    do:
      - emit_event: {{type: quiet, when: not arrived}}
      - send_sms: {{text: Heard, when: arrived.points > 12}}
    next: rest
  - id: rest
    wait: 20 minutes
"""
TIMES: dict[str, tuple[str, str]] = {
    "timed": (
        TIMED.format(reentry="after exit", again="refresh", silence="3 hours", age=2),
        TIMED.format(reentry="{after: 1 hour, of: entry}", again="restart", silence="1 day", age=0.5),
    ),
    "plain": (PLAIN.format(reentry="after exit", age="1 day"), PLAIN.format(reentry="{after: 3 hours}", age="5 hours")),
}
SEGMENTS: dict[str, tuple[str, str]] = {
    "echo": (ECHO.format(wait="1 hour"), ECHO.format(wait="1 day")),
    "members": (MEMBERS.format(reentry="after exit", wait="5 hours"), MEMBERS.format(reentry="{after: 1 hour, of: exit}", wait="1 day")),
    "conditions": (CONDITIONS.format(count=2, wait="2 hours"), CONDITIONS.format(count=1, wait="1 day")),
}

TRIAL = """
workflow: trial
triggers:
  - id: soon
    date: customer.ends
    offset: -1 day
    at: "{at}"
  - id: signup
    event: signup
entry:
  reentry: {{after: 3 hours, of: entry}}
steps:
  - id: over
    wait: {{date: customer.ends, offset: -2 hours, at: "10:30", missing: none, past: {past}}}
    do:
      - send_email: {{template: hello, subject: Ends}}
    next: plain
  - id: plain
    wait: {{date: customer.ends, missing: none, past: continue}}
    do:
      - send_sms: {{text: Over}}
    next: end
  - id: none
    wait: 1 hour
    do:
      - send_sms: {{text: None}}
    next: end
"""

BIRTHDAY = """
workflow: birthday
triggers:
  - date: customer.born
    at: "{at}"
    yearly: true
entry:
  reentry: always
steps:
  - id: hello
    do:
      - send_email: {{template: hello, subject: Hello}}
"""

DIGEST = """
workflow: digest
triggers:
  - schedule: "{cron}"
    timezone: customer
    audience: customer.plan == 'gold' and event_count('cart', within='3 days') > 0
    catchup: last
  - id: noon
    schedule: "30 2 * * 0"
    timezone: Europe/Berlin
    audience: customer.plan != 'none'
entry:
  reentry: always
steps:
  - id: send
    do:
      - send_email: {{template: hello, subject: Hello}}
    next: settle
  - id: settle
    wait: 2 hours
    do:
      - send_sms: {{text: Hello}}
"""
DATES: dict[str, tuple[str, str]] = {
    "trial": (TRIAL.format(at="09:00", past="skip"), TRIAL.format(at="02:30", past="none")),
    "birthday": (BIRTHDAY.format(at="08:00"), BIRTHDAY.format(at="01:30")),
    "digest": (DIGEST.format(cron="30 2 * * *"), DIGEST.format(cron="0 9 * * 1-5")),
}
