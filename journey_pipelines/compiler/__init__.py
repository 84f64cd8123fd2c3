"""Workflow -> Plan: the set-based SQL of one workflow version, as values.

What lives here: one module per kind of statement (entry, wake, rules, step), what they share (binds, scopes, waits,
actions), and `plan`, which puts a version together. Everything is pure: a `Definition` goes in, `Statement`s (SQL text
with its parameters) come out.

What does not: a connection, a clock, a decision per person. Running statements is `engine`'s business; the truth of an
expression is `expressions`'.

The shape of every statement (design: one CTE claims, one computes, the others write):

    hit / due   the journeys or events this statement is about          (journey columns come from here only)
    facts       conditions, branch taken, values seen                   (MATERIALIZED: evaluated once per person)
    ...         one data-modifying CTE per table
    SELECT      counts, so that the caller can tell what moved

Look-ups of one person's rows (profile, context, arrived event) are laterals with LIMIT 1: the planner then has no way to
read a whole table for a batch, whatever its statistics say.
"""
