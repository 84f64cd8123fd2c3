"""What a user of a file can cause; the text is the message, complete as it stands."""


class IntakeError(Exception):
    """The base of this folder's errors."""


class FileUnreadable(IntakeError):
    """The file as a whole cannot be read as events; says what was found and which option helps."""


class TemplateProblem(IntakeError):
    """An option cannot be used; says which option, what is wrong and what to write instead."""


class NothingFits(IntakeError):
    """Not one of the first rows could become an event: the options are wrong, not the rows. Says the most frequent reasons."""


class ReplayRefused(IntakeError):
    """The replay would mix with what a database holds, or its times make no sense; says what to do."""
