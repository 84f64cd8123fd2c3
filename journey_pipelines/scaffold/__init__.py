"""The first files of a project (`journeys init`) and of a workflow (`journeys new`).

Here live the templates, under `files/` as they are written out, and what copies them. What a workflow may say is `workflows`' business;
nothing here reads a project or a database.
"""
