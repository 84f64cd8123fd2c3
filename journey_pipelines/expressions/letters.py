"""Upper and lower case, letter by letter and the same in every database: PostgreSQL's own lower() depends on the database's locale.

Latin, Greek, Cyrillic and Armenian letters whose other case is one letter; 'ß' and the like stay. The migration's `lower_text` and
`upper_text` hold these tables as text; a test compares them.
"""

from __future__ import annotations

_BLOCKS = ((0x00C0, 0x024F), (0x0370, 0x03FF), (0x0400, 0x052F), (0x0531, 0x0587), (0x1E00, 0x1EFF))
_LETTERS = [chr(code) for first, last in _BLOCKS for code in range(first, last + 1)]

LOWER = {c: c.lower() for c in _LETTERS if len(c.lower()) == 1 and c.lower() != c}
UPPER = {c: c.upper() for c in _LETTERS if len(c.upper()) == 1 and c.upper() != c}

_TO_LOWER = str.maketrans({**{chr(c): chr(c + 32) for c in range(65, 91)}, **LOWER})
_TO_UPPER = str.maketrans({**{chr(c): chr(c - 32) for c in range(97, 123)}, **UPPER})


def lower(text: str) -> str:
    return text.translate(_TO_LOWER)


def upper(text: str) -> str:
    return text.translate(_TO_UPPER)
