"""The file beside an import that holds the rows that could not become events, one JSON object a line: line number, reason, text."""

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO


class Rejects:
    """Writes `FILE.rejected.jsonl`, which appears with the first rejected row; one left by an earlier import of the file is replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._file: IO[str] | None = None

    @property
    def count(self) -> int:
        """Rows rejected so far."""
        return self.reasons.total()

    def add(self, number: int, reason: str, raw: str) -> None:
        """`number`: of the line, from 1. Reasons are counted by their text before the colon; what follows is the row's own."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8")
        json.dump({"line": number, "reason": reason, "raw": raw}, self._file)
        self._file.write("\n")
        self.reasons[reason.partition(": ")[0]] += 1

    def __enter__(self) -> "Rejects":
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
