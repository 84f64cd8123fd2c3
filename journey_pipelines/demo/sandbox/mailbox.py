"""What the sandbox accepted: a journal that counts as its word, and a small database to look things up in."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from journey_pipelines.demo.journal import Journal, read

CHANNELS = ("email", "sms", "push")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS received (
    number INTEGER PRIMARY KEY, message_key TEXT NOT NULL, channel TEXT NOT NULL, recipient TEXT NOT NULL, sender TEXT NOT NULL,
    subject TEXT NOT NULL, text TEXT NOT NULL, html TEXT NOT NULL, headers TEXT NOT NULL, at REAL NOT NULL, answered TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS received_recipient ON received (recipient);
CREATE INDEX IF NOT EXISTS received_channel ON received (channel, number);
"""
_COLUMNS = "number, message_key, channel, recipient, sender, subject, text, html, headers, at, answered"


@dataclass(frozen=True)
class Message:
    """One message as it came in; `key` is the sender's idempotency key ('' when it sent none), `at` wall time in seconds."""

    key: str
    channel: str
    recipient: str
    sender: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    number: int = 0
    at: float = 0.0
    answered: str = "yes"

    def summary(self) -> dict[str, Any]:
        """What a list shows: everything but the bodies, with the first line of the text."""
        preview = " ".join(self.text.split())[:160]
        return {
            "number": self.number, "key": self.key, "channel": self.channel, "recipient": self.recipient,
            "subject": self.subject, "preview": preview, "at": self.at, "answered": self.answered,
        }  # fmt: skip


class Mailbox:
    """Keeps messages under a folder: `accepted.jsonl` (the truth, on the disk before the sender gets its yes) and `inbox.sqlite3`.

    The database is only for looking: it is not synced, and what a power cut takes from it is still in the journal.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "accepted.jsonl"
        self.counts: Counter[str] = Counter()
        self.repeats = 0
        self.last = 0
        self._first_with: dict[str, int] = {}
        for line in read(path):
            self._remember(line)
        self._journal = Journal(path)
        self._db = sqlite3.connect(folder / "inbox.sqlite3", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)

    def accept(self, message: Message, *, answered: str = "yes", idempotent: bool) -> tuple[Message, bool]:
        """Keep a message and return it with its number, and whether it was new.

        With `idempotent` a key seen before is not accepted again: its first message's number comes back. Without (SMTP has no such
        thing) every call accepts, so that a sender's duplicate is on record as one. `answered` says what the sender was told.
        """
        now = time.time()
        if idempotent and message.key and message.key in self._first_with:
            number = self._first_with[message.key]
            line = {"kind": "repeat", "number": number, "key": message.key, "channel": message.channel, "to": message.recipient, "at": now}
            self._journal.append(line)
            self._remember(line)
            return Message(**{**message.__dict__, "number": number, "at": now, "answered": answered}), False
        kept = Message(**{**message.__dict__, "number": self.last + 1, "at": now, "answered": answered})
        line = {
            "kind": "accepted", "number": kept.number, "key": kept.key, "channel": kept.channel, "to": kept.recipient,
            "subject": kept.subject, "at": now, "answered": answered,
        }  # fmt: skip
        self._journal.append(line)
        self._remember(line)
        self._db.execute(
            f"INSERT OR REPLACE INTO received ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 -- constant columns
            (kept.number, kept.key, kept.channel, kept.recipient, kept.sender, kept.subject, kept.text, kept.html,
             json.dumps(kept.headers), kept.at, kept.answered),
        )  # fmt: skip
        return kept, True

    def get(self, number: int) -> Message | None:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM received WHERE number = ?", (number,)).fetchone()  # noqa: S608
        return _message(row) if row else None

    def find(self, *, recipient: str = "", channel: str = "", after: int = 0, before: int | None = None, limit: int = 50,
             oldest_first: bool = False) -> list[Message]:  # fmt: skip
        """Messages with numbers in (after, before), newest first unless told otherwise; `recipient` is a part of the address."""
        where, values = ["number > ?"], [after]  # type: list[str], list[Any]
        if before is not None:
            where.append("number < ?")
            values.append(before)
        if channel:
            where.append("channel = ?")
            values.append(channel)
        if recipient:
            where.append("recipient LIKE ? ESCAPE '\\'")
            values.append("%" + recipient.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%")
        order = "ASC" if oldest_first else "DESC"
        sql = f"SELECT {_COLUMNS} FROM received WHERE {' AND '.join(where)} ORDER BY number {order} LIMIT ?"  # noqa: S608
        return [_message(row) for row in self._db.execute(sql, (*values, limit))]

    def close(self) -> None:
        self._journal.close()
        self._db.close()

    def _remember(self, line: dict[str, Any]) -> None:
        if line.get("kind") == "repeat":
            self.repeats += 1
            return
        self.last = max(self.last, int(line["number"]))
        self.counts[line["channel"]] += 1
        if line["key"]:
            self._first_with.setdefault(line["key"], int(line["number"]))


def _message(row: tuple[Any, ...]) -> Message:
    number, key, channel, recipient, sender, subject, text, html, headers, at, answered = row
    return Message(key=key, channel=channel, recipient=recipient, sender=sender, subject=subject, text=text, html=html,
                   headers=[(name, value) for name, value in json.loads(headers)], number=number, at=at, answered=answered)  # fmt: skip
