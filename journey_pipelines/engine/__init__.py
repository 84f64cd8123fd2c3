"""Runs compiled workflows: route, enter, advance, drain.

What lives here: what happens in one micro-batch and in which order. Everything takes a connection and a time; nothing asks the
wall clock but `drain`, which reads the engine's clock once a batch and paces itself.

What does not: Dagster (the assets call `drain`), sending (delivery), SQL that depends on a workflow (compiler). The SQL that
is the same for every workflow is in `sql/`, one file a statement, to be read and explained in psql as it stands.

    drain -> tick -> batch  1 lock the shards that are free         session
                            2 take events out of the inbox          take
                            3 rounds: timers before the event,
                              profile, goal, exit, wake, enter      rounds
                            4 timers of shards with nothing left    advance
"""
