"""What happened to the people in the journeys: figures of one day, stored in tables, shown on one page.

Here live the aggregations (``sql/``), the pure functions that finish them (frames in, frames out), the page and its
templates, the rule for when a day is final, and, in ``assets`` alone, the Dagster wrappers. Nothing here sends, changes a
journey or reads the wall clock: ``now`` is a parameter. The live view of a running system is not here: that is `journeys status`.

Import ``reports.build`` where reports are made and nowhere else: it brings pandas. ``reports.due``, ``reports.days`` and
``reports.assets`` stay light, because the code location loads them at every run.
"""
