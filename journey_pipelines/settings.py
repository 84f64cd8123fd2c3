"""What the environment says: where the database is, where the project lies, how messages leave.

Read lazily, once: `settings()`. Nothing is read at import. Where a default is a folder, it lies in the working directory.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class SettingsError(ValueError):
    """An environment variable has a value that cannot be used."""


class Settings(BaseSettings):
    """One field a variable; the variable's name is its alias. An empty variable counts as absent."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, populate_by_name=True, hide_input_in_errors=True)

    database_url: str | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        repr=False,
        description="PostgreSQL 15 or newer; absent = the embedded server under JOURNEYS_DATA",
    )
    project: Path = Field(
        default=Path("workflow_defs"), validation_alias="JOURNEYS_PROJECT", description="the folder of workflows, policies and catalogue"
    )
    data: Path = Field(
        default=Path(".journeys"), validation_alias="JOURNEYS_DATA", description="the folder of the embedded server, of logs and reports"
    )
    reports_folder: Path | None = Field(
        default=None, validation_alias="JOURNEYS_REPORTS", description="where reports are written; absent = reports/ in JOURNEYS_DATA"
    )
    smtp_url: str | None = Field(
        default=None, validation_alias="JOURNEYS_SMTP_URL", repr=False, description="smtp://host:port, or smtps://user:password@host:465"
    )
    sms_url: str | None = Field(default=None, validation_alias="JOURNEYS_SMS_URL", description="the generic HTTP provider of text messages")
    sms_key: SecretStr | None = Field(default=None, validation_alias="JOURNEYS_SMS_KEY", description="its bearer token")
    push_url: str | None = Field(
        default=None, validation_alias="JOURNEYS_PUSH_URL", description="the generic HTTP provider of push messages"
    )
    push_key: SecretStr | None = Field(default=None, validation_alias="JOURNEYS_PUSH_KEY", description="its bearer token")
    sender: str | None = Field(
        default=None, validation_alias="JOURNEYS_SENDER", description="the From address of mails whose action names none"
    )
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        validation_alias="JOURNEYS_WEBHOOK_ALLOW",
        description="host:port pairs, with commas, that webhooks may reach beside public addresses",
    )

    @property
    def reports(self) -> Path:
        """The folder of written reports."""
        return self.reports_folder or self.data / "reports"

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: str | None) -> str | None:
        return _with_scheme(value, ("postgresql", "postgres", "postgresql+psycopg"), "postgresql://user:password@host:5432/database")

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, value: str | None) -> str | None:
        return _with_scheme(value, ("smtp", "smtps"), "smtp://host:port or smtps://user:password@host:465")

    @field_validator("sms_url", "push_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        return _with_scheme(value, ("http", "https"), "https://host/path")

    @field_validator("webhook_allow", mode="before")
    @classmethod
    def _host_ports(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = tuple(p for p in (part.strip() for part in value.split(",")) if p)
        for pair in pairs:
            host, _, port = pair.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError(f"expected host:port pairs with commas between them, got {pair!r}")
        return pairs


def _with_scheme(value: str | None, schemes: tuple[str, ...], example: str) -> str | None:
    # the message names the scheme alone: the rest may hold a password
    if value is not None:
        scheme, found, rest = value.partition("://")
        if not found or scheme.lower() not in schemes or not rest:
            raise ValueError(f"expected {example}, got {'scheme ' + repr(scheme) if found else 'no scheme'}")
    return value


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process; `settings.cache_clear()` reads the environment anew. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        problems = [f"{e['loc'][0] if e['loc'] else 'settings'}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise SettingsError("; ".join(problems)) from None
