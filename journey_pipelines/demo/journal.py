"""Append-only files of JSON lines that survive a kill: the shop's and the sandbox's own memory of what happened."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """One file, one JSON object a line, each on the disk before `append` returns.

    A process killed in the middle of a line leaves a stump; opening the file again ends that line, and `read` passes over it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        if self._file.tell() and not _ends_with_newline(path):
            self._file.write(b"\n")

    def append(self, *entries: dict[str, Any]) -> None:
        """Write the entries in one go and wait until they are on the disk."""
        if not entries:
            return
        self._file.write(b"".join(json.dumps(entry, ensure_ascii=False, default=str).encode() + b"\n" for entry in entries))
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a journal, oldest first; a missing file has none."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n") or not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
