"""Settings: read when asked, from the environment alone, with errors that name the variable and keep secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from journey_pipelines.settings import Settings, SettingsError, settings

NAMES = [str(field.validation_alias) for field in Settings.model_fields.values()]


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_without_environment_all_is_in_the_working_directory() -> None:
    found = settings()
    assert found.database_url is None
    assert (found.project, found.data, found.reports) == (Path("workflow_defs"), Path(".journeys"), Path(".journeys/reports"))
    assert found.webhook_allow == ()


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "DATABASE_URL": "postgresql://app:secret@db.example.org/shop",
        "JOURNEYS_DATA": "/srv/journeys",
        "JOURNEYS_SMTP_URL": "smtps://user:secret@mail.example.org:465",
        "JOURNEYS_SMS_KEY": "secret",
        "JOURNEYS_WEBHOOK_ALLOW": "127.0.0.1:8080, hooks.internal:443",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = settings()
    assert found.reports == Path("/srv/journeys/reports")
    assert found.webhook_allow == ("127.0.0.1:8080", "hooks.internal:443")
    assert found.sms_key is not None and found.sms_key.get_secret_value() == "secret"
    assert "secret" not in repr(found)


def test_an_empty_variable_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    assert settings().database_url is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DATABASE_URL", "mysql://u:secret@h/d", "expected postgresql://user:password@host:5432/database, got scheme 'mysql'"),
        ("DATABASE_URL", "secret", "got no scheme"),
        ("JOURNEYS_SMTP_URL", "http://secret", "expected smtp://host:port"),
        ("JOURNEYS_SMS_URL", "ftp://secret/x", "expected https://host/path"),
        ("JOURNEYS_WEBHOOK_ALLOW", "localhost", "expected host:port pairs with commas between them, got 'localhost'"),
        ("JOURNEYS_WEBHOOK_ALLOW", "localhost:99999", "got 'localhost:99999'"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        settings()
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and expected in message
    assert "secret" not in message and "\n" not in message


def test_each_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())
