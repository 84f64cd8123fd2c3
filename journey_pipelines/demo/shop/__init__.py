"""The demo shop: an app as a user would write one, with its own schema, its own tables and the rights of an app and no more.

`people` makes the customers, `life` decides what they do and when, `ledger` writes it down: in its own tables, in the engine's inbox
by plain INSERT, and, after each commit, in the shop's own journals, from which the counters later judge the engine. It knows the
engine by the SQL contract alone (INSERT into event_inbox, upsert_profile, clock_now) and imports nothing of it.
"""
