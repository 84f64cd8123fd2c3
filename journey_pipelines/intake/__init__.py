"""How events come in other than by an app's own INSERT: files (import, replay) and tables of apps that are read (event sources).

Everything here writes into `event_inbox`, or with `--history` straight into history; nothing here decides what an event does: that is
`engine`.
"""
