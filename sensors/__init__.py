"""Sensors: doorbells, one module per backlog.

A doorbell asks the database one indexed question and answers with a `RunRequest` or a `SkipReason`. It keeps no cursor and uses no run key:
losing a ring costs seconds, never an event or a message. What is due, and what must not happen twice, is decided in the engine's tables.
Anything that moves a row does not belong here.
"""
