"""What a workflow is: the model, loading YAML with file:line:column, validation, and the picture of it.

Here live the language (`model`, `policies`, `catalogue`, `sources`), its reader (`load` and what it calls) and its checks. Nothing here
knows a database, a clock, SQL or Dagster: a folder goes in, a `Project` or a list of `Problem`s comes out. How a workflow becomes SQL is
the compiler's; what a condition may say is the expressions'.
"""
