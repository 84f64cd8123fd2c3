"""Rows of files of every kind, and the lines that are none."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from journey_pipelines.intake.errors import FileUnreadable
from journey_pipelines.intake.readers import BadRow, Row, read_rows
from journey_pipelines.intake.shape import detect


def read(tmp_path: Path, text: str | bytes, **options: Any) -> list[Row | BadRow]:
    path = tmp_path / "file"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_rows(path, detect(path, **options)))


def values(rows: list[Row | BadRow]) -> list[dict[str, Any]]:
    return [row.values for row in rows if isinstance(row, Row)]


def bad(rows: list[Row | BadRow]) -> list[tuple[int, str]]:
    return [(row.number, row.reason) for row in rows if isinstance(row, BadRow)]


def test_rows_come_in_file_order_with_their_line_numbers(tmp_path: Path) -> None:
    rows = read(tmp_path, "id,at\n1,x\n\n2,y\n")
    assert [(row.number, row.values) for row in rows if isinstance(row, Row)] == [(2, {"id": "1", "at": "x"}), (4, {"id": "2", "at": "y"})]


def test_an_empty_cell_is_missing(tmp_path: Path) -> None:
    assert values(read(tmp_path, 'id,at\n1,\n"",2\n')) == [{"id": "1", "at": None}, {"id": None, "at": "2"}]


def test_quoted_cells_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    rows = read(tmp_path, 'id,note\n1,"a, ""b""\nc"\n2,d\n')
    assert values(rows) == [{"id": "1", "note": 'a, "b"\nc'}, {"id": "2", "note": "d"}]
    assert [row.number for row in rows] == [2, 4]


def test_equal_lines_have_equal_hashes_whatever_their_line_ends_and_compression(tmp_path: Path) -> None:
    unix = read(tmp_path, "id at\n1 a\n2 b\n1 a\n")
    windows = read(tmp_path, "id at\r\n1 a\r\n2 b\r\n1 a")
    packed = read(tmp_path, gzip.compress(b"id at\n1 a\n2 b\n1 a\n"))
    hashes = [[row.hash for row in rows if isinstance(row, Row)] for rows in (unix, windows, packed)]
    assert hashes[0] == hashes[1] == hashes[2]
    assert hashes[0][0] == hashes[0][2] != hashes[0][1]


def test_a_line_with_too_few_or_too_many_cells_is_no_row(tmp_path: Path) -> None:
    rows = read(tmp_path, "id,at,total\n1,x,2\n2,y\n3,z,4,5\n4,u,6,\n")
    assert [row["id"] for row in values(rows)] == ["1", "4"]  # a delimiter at the end is harmless
    assert bad(rows) == [(3, "missing column total: 2 cells, expected 3"), (4, "too many cells: 4, expected 3")]


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path: Path) -> None:
    good = "".join(f"{n},ok\n" for n in range(1000))
    rows = read(tmp_path, f'id,note\n1,"open\n{good}')
    assert bad(rows) == [(2, "a quote is opened and not closed")]
    assert len(values(rows)) == 1000
    assert [row.number for row in rows] == list(range(2, 1003))


def test_a_quote_in_the_wrong_place_costs_one_line(tmp_path: Path) -> None:
    rows = read(tmp_path, 'id,note\n1,"a"b\n2,c\n3,5" pipe\n')
    assert [number for number, _ in bad(rows)] == [2]
    assert [row["note"] for row in values(rows)] == ["c", '5" pipe']


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": 1', "not JSON: Expecting ',' delimiter at column 9"),
        (b"[1, 2]", "expected a JSON object, got list"),
        (b'{"id": NaN}', "NaN is not JSON"),
        (b'{"id": -Infinity}', "-Infinity is not JSON"),
        (b'{"id": "\xff"}', "not utf-8: byte 0xff at column 9 (see --encoding)"),
        (b"[" * 5000, "nested too deeply"),
        (b'{"id": "' + b"x" * 1_100_000 + b'"}', "line longer than 1048576 bytes"),
    ],
)
def test_a_bad_line_of_json_has_its_reason_and_the_others_go_on(tmp_path: Path, line: bytes, reason: str) -> None:
    rows = read(tmp_path, b'{"id": 1}\n' + line + b'\n{"id": 2}\n')
    assert values(rows) == [{"id": 1}, {"id": 2}]
    assert bad(rows) == [(2, reason)]
    assert all(len(row.raw) <= 2000 for row in rows)


def test_the_encoding_can_be_named(tmp_path: Path) -> None:
    text = "name,n\nJosé,1\n".encode("cp1252")
    assert bad(read(tmp_path, text)) == [(2, "not utf-8: byte 0xe9 at column 4 (see --encoding)")]
    assert values(read(tmp_path, text, encoding="cp1252")) == [{"name": "José", "n": "1"}]


def test_a_file_that_breaks_off_says_where(tmp_path: Path) -> None:
    packed = gzip.compress("".join(f"{n},{n * 7919}\n" for n in range(50_000)).encode())
    path = tmp_path / "file.gz"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(FileUnreadable, match="breaks off after line"):
        list(read_rows(path, detect(path)))


def test_progress_reaches_the_size_of_the_packed_file(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress("".join(f"{n},{n * 7919}\n" for n in range(100_000)).encode()))
    seen: list[int] = []
    for _ in read_rows(path, detect(path), at=seen.append):
        pass
    assert seen == sorted(seen)
    assert 0.8 * path.stat().st_size < seen[-1] <= path.stat().st_size


def test_memory_is_one_record_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("".join(f"{n},{'x' * 100}\n" for n in range(200_000)))  # 21 MB
    shape = detect(path)
    tracemalloc.start()
    count = sum(1 for _ in read_rows(path, shape))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200_000
    assert peak < 1_000_000
