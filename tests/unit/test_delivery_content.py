"""From a template to the bytes of a mail."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey_pipelines.delivery import templates as module
from journey_pipelines.delivery.actions import Actions
from journey_pipelines.delivery.addresses import BadAddress, email_address, phone_number, push_token
from journey_pipelines.delivery.channel import METHOD, Content
from journey_pipelines.delivery.headers import one_line
from journey_pipelines.delivery.html_text import text_of_html
from journey_pipelines.delivery.mime import compose
from journey_pipelines.delivery.templates import RenderError
from journey_pipelines.workflows.definition import Definition

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PERSON = {
    "customer": {"first_name": "Zoë", "plan": "gold", "points": 12},
    "event": {"items": [{"name": "A & B"}, {"name": "C"}]},
    "brand": {},
}


def content(params: dict[str, Any], templates: dict[str, str] | None = None, kind: str = "send_email", **context: Any) -> Content:
    """One action of this kind rendered for Zoë."""
    definition = Definition.model_validate(
        {
            "workflow": {
                "id": "w", "name": "W", "triggers": [{"id": "t", "event": "e"}], "entry": {"max_lateness": "1 day"},
                "steps": [{"id": "s", "do": [{"kind": kind, "id": "a", "params": params}], "next": {"branches": [{"to": "end"}]}}],
            },
            "templates": templates or {},
        }
    )  # fmt: skip
    address = {"send_email": "zoe@example.org", "send_sms": "+41791234567", "send_push": "token", "webhook_call": ""}[kind]
    return Actions(definition, "Shop <shop@example.org>").get("s", "a").content({**PERSON, **context}, address, NOW)


def mail(html: str, text: str | None = None, **context: Any) -> Content:
    files = {"m.html": html, **({"m.txt": text} if text is not None else {})}
    return content({"template": "m", "subject": "Hi"}, files, **context)


def test_html_is_escaped_and_text_is_not() -> None:
    found = mail("<p>{{ event.items[0].name }}</p>", "{{ event.items[0].name }}")
    assert (found.html, found.text) == ("<p>A &amp; B</p>", "A & B\n")


PAGE = """<html><head><title>x</title><style>p { color: red }</style></head><body>
<div style="display:none">preview</div>
<h1>Hello {{ customer.first_name }}</h1>
<p>You have {{ customer.points }} points.<br>See <a href="https://example.org/?a=1&amp;b=2">them</a>
or <a href="{{ brand.url | default('https://example.org/x') }}">more</a></p>
{% if customer.plan == 'gold' %}<p>Gold!</p>{% endif %}
<ul>{% for item in event.items %}<li>{{ item.name }}</li>{% endfor %}</ul>
<img src="x" alt="Logo"></body></html>"""
TEXT = """Hello Zoë

You have 12 points.
See them (https://example.org/?a=1&b=2) or more (https://example.org/x)

Gold!

- A & B
- C

Logo
"""


def test_the_text_part_of_html() -> None:
    assert mail(PAGE).text == TEXT


@pytest.mark.parametrize(
    "twist", ["{% block x %}{% endblock %}", "{{ customer.first_name | e }}", "<style>{% if 1 == 1 %}{% endif %}</style>"]
)
def test_the_text_part_where_the_template_cannot_be_turned_into_text(twist: str) -> None:
    """Then each mail's HTML is, with the same result."""
    found = mail(PAGE.replace("<img", f"<div hidden>{twist}</div><img"))
    assert found.text == TEXT


def test_includes() -> None:
    found = content(
        {"template": "m", "subject": "Hi"},
        {"m.html": "<p>{{ customer.first_name }}</p>{% include 'foot.html' %}", "foot.html": "<i>{{ event.items[0].name }}</i>"},
    )
    assert found.html == "<p>Zoë</p><i>A &amp; B</i>" and found.text == "Zoë\n\nA & B\n"


@given(st.text(alphabet="<>/apdivbr \"'=&;!-#x0123\n", max_size=80))
def test_no_html_is_too_broken(html: str) -> None:
    assert text_of_html(html).endswith("\n")


@pytest.mark.parametrize(
    ("params", "files", "said"),
    [
        ({"template": "m", "subject": "{{ customer.nick }}"}, {"m.html": ""}, "step s: a: subject: line 1: customer.nick is missing"),
        ({"template": "m", "subject": "x"}, {"m.html": "a\n{{ event.items[7].x }}"}, "template m.html: line 2: event.items[7].x"),
        ({"template": "m", "subject": "x"}, {}, "step s: a: there is no template m.html"),
        ({"template": "m", "subject": "x"}, {"m.html": "{% if %}"}, "template m.html: line 1: "),
        ({"template": "m", "subject": "x"}, {"m.html": "{{ 'x' | center(9) }}"}, "template m.html: line 1: "),
        ({"template": "m", "subject": "x"}, {"m.html": "{% include 'gone.html' %}"}, "template m.html: gone.html"),
        ({"template": "m", "subject": "x", "headers": {"Bcc": "x"}}, {"m.html": ""}, "step s: a: header 'Bcc' is written by the channel"),
        ({"template": "m", "subject": "x", "headers": {"X\r\nY": "x"}}, {"m.html": ""}, "step s: a: header 'X\\r\\nY': expected a name"),
        ({"template": "m"}, {"m.html": ""}, "step s: a: 'subject' is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_rendered_says_where(params: Any, files: Any, said: str) -> None:
    with pytest.raises(RenderError) as caught:
        content(params, files)
    assert str(caught.value).startswith(said)


def test_size_and_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {"event": {"items": [{"name": "x" * 900} for _ in range(30)]}}
    loop = "{% for a in event.items %}{% for b in event.items %}{{ b.name }}{% endfor %}{% endfor %}"
    with pytest.raises(RenderError, match="at most 500,000 characters"):
        mail(loop, "", **wide)
    monkeypatch.setattr(module, "MAX_SECONDS", 0.0)
    with pytest.raises(RenderError, match="took longer"):
        mail(loop, "", **wide)


def test_a_webhook_body_keeps_types() -> None:
    body = {
        "n": "{{ customer.points }}",
        "t": "n={{ customer.points }}",
        "l": ["{{ event.items }}", 1, None, True],
        "gone": "{{ customer.x | default(none) }}",
    }
    found = content(
        {"url": "https://example.org/{{ customer.plan }}", "body": body, "headers": {"X-A": "{{ customer.plan }}"}}, {}, "webhook_call"
    )
    assert found.address == "https://example.org/gold"
    assert found.text == '{"n": 12, "t": "n=12", "l": [[{"name": "A & B"}, {"name": "C"}], 1, null, true], "gone": null}'
    assert found.headers == {METHOD: "POST", "X-A": "gold", "Content-Type": "application/json"}
    with pytest.raises(RenderError, match=r"customer\.nick is missing"):
        content({"url": "https://example.org", "body": {"a": "{{ customer.nick }}"}}, {}, "webhook_call")


def read(data: bytes) -> EmailMessage:
    found = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(found, EmailMessage) and not found.defects
    return found


@given(subject=st.text(max_size=200), text=st.text(max_size=300), html=st.text(max_size=300))
def test_a_mail_says_what_was_put_in(subject: str, text: str, html: str) -> None:
    subject = one_line(subject.encode("utf-8", "replace").decode())
    data = compose({"From": "Zoë <a@example.org>", "To": "b@example.org", "Subject": subject}, text, html, "key")
    assert (
        data.isascii()
        and b"\r\n" in data
        and all(len(line) <= 998 for line in data.split(b"\r\n"))
        and b"\n" not in data.replace(b"\r\n", b"")
    )
    found = read(data)
    assert [name for name, _ in found.items()] == ["From", "To", "Subject", "MIME-Version", "Content-Type"]
    assert "".join(str(found["Subject"]).split()) == "".join(subject.split())
    parts = {part.get_content_type(): part.get_payload(decode=True) for part in found.walk() if not part.is_multipart()}
    for kind, source in (("text/plain", text), ("text/html", html)):
        payload = parts[kind]
        assert isinstance(payload, bytes)
        wanted = source.encode("utf-8", "replace").decode().replace("\r\n", "\n").encode()
        assert payload.replace(b"\r\n", b"\n") == wanted


def test_a_header_cannot_become_two() -> None:
    assert one_line("a\r\nBcc: b\u2028c\x00d") == "a Bcc: b c d"
    data = compose({"From": "a@example.org", "To": "b@example.org", "Subject": "x\r\nBcc: c@example.org", "X-Y": "é" * 300}, "t", None, "k")
    found = read(data)
    assert found["Bcc"] is None and found["X-Y"] == "é" * 300 and found.get_content_type() == "text/plain"


@pytest.mark.parametrize("good", ["ann@example.org", "a.b+c@sub.example.org", "x@shop.test", "o'neil@example.com", "zoë@example.org"])
def test_good_addresses(good: str) -> None:
    assert email_address(good) == good


def test_international_domains_are_written_in_ascii() -> None:
    assert email_address("ann@bücher.example.org") == "ann@xn--bcher-kva.example.org"


@pytest.mark.parametrize(
    "bad",
    [
        "", "ann", "ann@", "@example.org", "a b@example.org", "a..b@example.org", "ann@example.org\r\nX: y", "a@b@c.org", "ann@-x.org",
        "x" * 65 + "@x.org",
    ],
)  # fmt: skip
def test_bad_addresses(bad: str) -> None:
    with pytest.raises(BadAddress, match=r"^bad address: "):
        email_address(bad)


def test_phone_numbers_and_tokens() -> None:
    assert phone_number("+41 (0)79 123-45-67") == "+410791234567"
    assert push_token("abc:DEF_1") == "abc:DEF_1"
    for bad in ("", "12", "+41 79 CALL ME", "1" * 16):
        with pytest.raises(BadAddress):
            phone_number(bad)
    for bad in ("", "a b", "a\n", "x" * 4097):
        with pytest.raises(BadAddress):
            push_token(bad)
