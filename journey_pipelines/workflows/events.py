"""The event types that the engine itself writes, whatever a catalogue declares, and the names that nobody else may use."""

from __future__ import annotations

from collections.abc import Mapping

_MESSAGE = ("message_key", "step", "action", "channel", "workflow", "link", "machine")
_MESSAGE_EVENTS = ("accepted", "delivered", "opened", "clicked", "replied", "bounced", "complained", "unsubscribed")

# type -> the keys of its payload
BUILT_IN_EVENTS: Mapping[str, tuple[str, ...]] = {
    **{f"message.{what}": _MESSAGE for what in _MESSAGE_EVENTS},
    "webhook.answered": ("message_key", "step", "action", "channel", "workflow", "status", "response"),
    "task.done": ("step", "action", "workflow", "task_id", "outcome", "note", "visit", "created_at"),
    "journey.entered": ("workflow", "version", "trigger", "entry_key"),
    "journey.ended": ("workflow", "version", "trigger", "entry_key", "step", "exit_reason"),
    "segment.entered": ("segment",),
    "segment.left": ("segment",),
}

# What every event has beside its payload
ENVELOPE = frozenset({"type", "occurred_at"})

# Names that begin so are the engine's; by `enter.` and `exit.` it asks itself to take somebody in or to let somebody go.
RESERVED_PREFIXES: tuple[str, ...] = ("message.", "webhook.", "task.", "journey.", "segment.", "enter.", "exit.")
