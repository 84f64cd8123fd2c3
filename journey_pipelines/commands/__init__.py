"""The commands of `journeys`: each module adds some to the app; `cli` puts them together and turns errors into sentences.

What lives here: reading options, calling one function, printing. What does not: anything worth a test without a terminal.
"""
