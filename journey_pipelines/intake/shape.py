"""What a file looks like: compression, format, delimiter, header and column names, found from its first 64 kB.

Every finding can be overridden. Reading the rows is `readers`; what the columns mean is `mapping`.
"""

import csv
import gzip
import io
import json
import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal, cast

from journey_pipelines.intake.errors import FileUnreadable

Format = Literal["csv", "whitespace", "jsonl"]
FORMATS: tuple[Format, ...] = ("csv", "whitespace", "jsonl")
SAMPLE_BYTES = 65_536
SAMPLE_LINES = 200
DELIMITERS = (",", "\t", ";", "|")

_NAME = re.compile(r"[A-Za-z_][\w .\-/()#%]*")
# words that Jinja reads as operators or constants, so that a column of that name could not be written in a template
_RESERVED = frozenset({*keyword.kwlist, "true", "false", "none"})


@dataclass(frozen=True)
class Shape:
    """`columns` is empty for JSON lines, where each row brings its own; `names` are the columns as they stand in the file."""

    format: Format
    compressed: bool
    encoding: str
    delimiter: str | None
    header: bool
    columns: tuple[str, ...]
    names: tuple[str, ...]

    def describe(self) -> str:
        """One line for people, e.g. `whitespace-separated, gzip, header, columns: customer_id, date`."""
        kinds = {"csv": f"CSV with {_delimiter_name(self.delimiter)}", "whitespace": "whitespace-separated", "jsonl": "JSON lines"}
        parts = [kinds[self.format]]
        if self.compressed:
            parts.append("gzip")
        if self.format != "jsonl":
            parts.append("header" if self.header else "no header")
            parts.append("columns: " + ", ".join(self.columns))
        return ", ".join(parts)


def detect(
    path: Path,
    *,
    format: Format | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8",
) -> Shape:
    """The shape of `path`; whatever is given is taken as it is. Raises FileUnreadable."""
    if not path.is_file():
        raise FileUnreadable(f"{path}: no such file")
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    try:
        with open_bytes(path, compressed) as stream:
            sample = stream.read(SAMPLE_BYTES)
    except (OSError, EOFError) as error:
        raise FileUnreadable(f"{path}: cannot be read: {error}") from error
    lines = _sample_lines(path, sample, encoding)
    if not lines:
        raise FileUnreadable(f"{path}: has no line in it")
    if delimiter is not None:
        delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
        if len(delimiter) != 1:
            raise FileUnreadable(f"--delimiter must be one character (or tab), got {delimiter!r}")
    kind = format or ("csv" if delimiter else _format(path, lines))
    shape = Shape(kind, compressed, encoding, None, False, (), ())
    if kind == "jsonl":
        return shape
    if kind == "csv":
        shape = replace(shape, delimiter=delimiter or _delimiter(lines) or ",")
    first = cells(lines[0], shape.delimiter)
    with_header = _is_header(first) if header is None else header
    names = (
        tuple(columns)
        if columns
        else tuple(name.strip() for name in first)
        if with_header
        else tuple(f"c{n + 1}" for n in range(len(first)))
    )
    if len(names) != len(first):
        raise FileUnreadable(f"{path}: --columns names {len(names)} columns, the first line has {len(first)}")
    return replace(shape, header=with_header, columns=_identifiers(names), names=names)


def open_bytes(path: Path, compressed: bool) -> IO[bytes]:
    """The file's bytes, unpacked."""
    return cast(IO[bytes], gzip.open(path, "rb")) if compressed else path.open("rb")


def cells(line: str, delimiter: str | None) -> list[str]:
    """The cells of one line that holds a whole record."""
    if delimiter is None:
        return line.split()
    return next(csv.reader([line], delimiter=delimiter), [])


def _sample_lines(path: Path, sample: bytes, encoding: str) -> list[str]:
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")) and not encoding.lower().startswith("utf-16"):
        raise FileUnreadable(f"{path}: looks like UTF-16; save it as UTF-8")
    try:
        text = sample.decode(encoding, errors="replace").removeprefix("\ufeff")
    except LookupError as error:
        raise FileUnreadable(f"--encoding {encoding!r} is not known to Python") from error
    lines = io.StringIO(text, newline="\n").read().split("\n")
    if len(sample) == SAMPLE_BYTES and len(lines) > 1:
        lines.pop()  # cut in the middle
    return [line.rstrip("\r") for line in lines if line.strip()][:SAMPLE_LINES]


def _format(path: Path, lines: list[str]) -> Format:
    start = lines[0].lstrip()
    if start.startswith("{"):
        try:
            if isinstance(json.loads(start), dict):
                return "jsonl"
        except (ValueError, RecursionError):
            pass
        if '":' in start or start == "{":
            raise FileUnreadable(f"{path}: looks like JSON, but the first line is not one object; JSON lines need one object on each line")
    if start.startswith("["):
        raise FileUnreadable(f"{path}: is a JSON array; write one object on each line, e.g. with `jq -c '.[]'`")
    if _delimiter(lines):
        return "csv"
    counts = [len(line.split()) for line in lines]
    return "whitespace" if counts[0] > 1 and _agree(counts) else "csv"


def _delimiter(lines: list[str]) -> str | None:
    """The delimiter that cuts (nearly) all lines into equally many cells; of several the one with the most cells."""
    found: list[tuple[int, str]] = []
    for delimiter in DELIMITERS:
        # a quoted line break splits a record over two sample lines: such lines disagree, and a tenth may
        counts = [len(cells(line, delimiter)) for line in lines]
        if counts[0] > 1 and _agree(counts):
            found.append((counts[0], delimiter))
    return max(found, key=lambda pair: (pair[0], -DELIMITERS.index(pair[1])))[1] if found else None


def _agree(counts: list[int]) -> bool:
    return counts.count(counts[0]) >= 0.9 * len(counts)


def _is_header(first: list[str]) -> bool:
    names = [name.strip() for name in first]
    return len(set(names)) == len(names) and all(_NAME.fullmatch(name) for name in names)


def _identifiers(names: tuple[str, ...]) -> tuple[str, ...]:
    """Column names as a template can write them: `Order Date` -> `Order_Date`, a second `id` -> `id_2`."""
    taken: list[str] = []
    for place, name in enumerate(names, start=1):
        slug = re.sub(r"\W+", "_", name).strip("_") or f"c{place}"
        if slug[0].isdigit():
            slug = f"c{slug}"
        if slug in _RESERVED or slug.lower() in ("true", "false", "none"):
            slug += "_"
        unique, n = slug, 2
        while unique in taken:
            unique, n = f"{slug}_{n}", n + 1
        taken.append(unique)
    return tuple(taken)


def _delimiter_name(delimiter: str | None) -> str:
    return {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}.get(delimiter or "", repr(delimiter))
