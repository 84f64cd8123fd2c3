"""Rows of a file, one at a time and in file order, however it is written; a line that is no row comes back with its reason.

Memory is one record (at most MAX_RECORD bytes) whatever the size of the file.
"""

import csv
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journey_pipelines.intake.errors import FileUnreadable
from journey_pipelines.intake.shape import Shape, open_bytes

# A record is one event: 1 MB is far above the 64 kB a payload may have. It also bounds what an unclosed quote can swallow.
MAX_RECORD = 1_048_576
MAX_RECORD_LINES = 200
RAW_KEPT = 2_000


@dataclass(slots=True)
class Row:
    """`number`: of the record's first line, from 1. `line`: without its line end. Empty CSV cells are None in `values`."""

    number: int
    line: bytes
    values: dict[str, Any]

    @property
    def hash(self) -> bytes:
        """16 bytes of sha256 of the line: equal lines are equal whatever their line ends, compression or file."""
        return hashlib.sha256(self.line).digest()[:16]

    @property
    def raw(self) -> str:
        """The line for people."""
        return _raw(self.line)


@dataclass(slots=True)
class BadRow:
    """A line that cannot become an event. `raw` is its text, cut at 2,000 characters."""

    number: int
    reason: str
    raw: str


class _NeverClosed(Exception):
    pass


def read_rows(path: Path, shape: Shape, *, at: Callable[[int], None] | None = None) -> Iterator[Row | BadRow]:
    """All records of the file but the header. `at` is told the position in the (compressed) file, in bytes, now and then.

    Raises FileUnreadable where the file breaks off in the middle of its compression.
    """
    with path.open("rb") as raw, open_bytes(path, shape.compressed) as stream:
        position = raw if not shape.compressed else getattr(stream, "fileobj", raw)
        lines = _Lines(_numbered(path, stream))
        rows = _json_rows(lines, shape) if shape.format == "jsonl" else _cell_rows(lines, shape)
        for count, row in enumerate(rows):
            if at is not None and count % 1000 == 0:
                at(_told(position, stream, shape.compressed))
            yield row


def _told(fileobj: Any, stream: Any, compressed: bool) -> int:
    return int(fileobj.tell() if compressed else stream.tell())


def _numbered(path: Path, stream: Any) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        while line := stream.readline(MAX_RECORD + 1):
            number += 1
            rest = line
            while len(rest) > MAX_RECORD and not rest.endswith(b"\n"):
                rest = stream.readline(MAX_RECORD + 1)  # a line without end is passed over, not kept
            yield number, line
    except (OSError, EOFError) as error:
        raise FileUnreadable(f"{path}: breaks off after line {number}: {error}") from error


class _Lines:
    """Lines with a way back: what an unclosed quote swallowed is read again, line by line."""

    def __init__(self, source: Iterator[tuple[int, bytes]]) -> None:
        self._source = source
        self._back: deque[tuple[int, bytes]] = deque()

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> tuple[int, bytes]:
        if self._back:
            return self._back.popleft()
        return next(self._source)

    def give_back(self, lines: list[tuple[int, bytes]]) -> None:
        self._back.extendleft(reversed(lines))


def _json_rows(lines: _Lines, shape: Shape) -> Iterator[Row | BadRow]:
    def constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    load = json.JSONDecoder(parse_constant=constant).decode
    for number, line in lines:
        line = _clean(number, line)
        if not line.strip():
            continue
        try:
            text = _decode(line, shape.encoding)
            values = load(text)
        except json.JSONDecodeError as error:
            yield BadRow(number, f"not JSON: {error.msg} at column {error.colno}", _raw(line))
            continue
        except (ValueError, RecursionError) as error:
            yield BadRow(number, "nested too deeply" if isinstance(error, RecursionError) else str(error), _raw(line))
            continue
        if not isinstance(values, dict):
            yield BadRow(number, f"expected a JSON object, got {type(values).__name__}", _raw(line))
            continue
        yield Row(number, line, values)


def _cell_rows(lines: _Lines, shape: Shape) -> Iterator[Row | BadRow]:
    records = _csv_records(lines, shape) if shape.format == "csv" else _whitespace_records(lines, shape)
    columns, width = shape.columns, len(shape.columns)
    header = shape.header
    for record in records:
        if header:
            header = False
            continue
        if isinstance(record, BadRow):
            yield record
            continue
        number, line, found = record
        if len(found) != width:
            if len(found) > width and not any(found[width:]):
                found = found[:width]  # a delimiter at the line's end
            elif len(found) < width:
                missing = ", ".join(columns[len(found) :])
                yield BadRow(number, f"missing column {missing}: {len(found)} cells, expected {width}", _raw(line))
                continue
            else:
                yield BadRow(number, f"too many cells: {len(found)}, expected {width}", _raw(line))
                continue
        yield Row(number, line, {name: cell or None for name, cell in zip(columns, found, strict=True)})


def _whitespace_records(lines: _Lines, shape: Shape) -> Iterator[tuple[int, bytes, list[str]] | BadRow]:
    for number, line in lines:
        line = _clean(number, line)
        try:
            found = _decode(line, shape.encoding).split()
        except ValueError as error:
            yield BadRow(number, str(error), _raw(line))
            continue
        if found:
            yield number, line, found


def _csv_records(lines: _Lines, shape: Shape) -> Iterator[tuple[int, bytes, list[str]] | BadRow]:
    """CSV after RFC 4180: quoted cells may hold delimiters, doubled quotes and line ends."""
    taken: list[tuple[int, bytes]] = []

    def feed() -> Iterator[str]:
        for number, line in lines:
            taken.append((number, line))
            if len(taken) > MAX_RECORD_LINES or sum(len(text) for _, text in taken) > MAX_RECORD:
                raise _NeverClosed if len(taken) > 1 else ValueError(f"line longer than {MAX_RECORD} bytes")
            yield _decode(_without_mark(number, line), shape.encoding)

    def reader() -> Any:
        return csv.reader(feed(), delimiter=shape.delimiter or ",", strict=True)

    records = reader()
    while True:
        taken.clear()
        try:
            found = next(records)
        except StopIteration:
            return
        except (csv.Error, ValueError, _NeverClosed) as error:
            if not taken:
                return
            (number, line), swallowed = taken[0], taken[1:]
            never_closed = isinstance(error, _NeverClosed) or len(taken) > 1 or "unexpected end" in str(error)
            reason = "a quote is opened and not closed" if never_closed else str(error)
            yield BadRow(number, reason, _raw(_clean(number, line)))
            lines.give_back(swallowed)
            records = reader()  # a generator that raised is over
            continue
        if not found or (len(found) == 1 and not found[0].strip()):
            continue
        number = taken[0][0]
        yield number, _clean(number, b"".join(text for _, text in taken)), found


def _clean(number: int, line: bytes) -> bytes:
    return _without_mark(number, line.rstrip(b"\r\n"))


def _without_mark(number: int, line: bytes) -> bytes:
    """A byte order mark is no part of the first cell."""
    return line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def _decode(line: bytes, encoding: str) -> str:
    if len(line) > MAX_RECORD:
        raise ValueError(f"line longer than {MAX_RECORD} bytes")
    try:
        return line.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"not {encoding}: byte {error.object[error.start]:#04x} at column {error.start + 1} (see --encoding)") from error


def _raw(line: bytes) -> str:
    return line[: RAW_KEPT * 4].decode("utf-8", errors="replace")[:RAW_KEPT]
