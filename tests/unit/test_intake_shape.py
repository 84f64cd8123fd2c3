"""What is found about a file, and what is said when nothing can be found."""

import gzip
from pathlib import Path

import pytest

from journey_pipelines.intake.errors import FileUnreadable
from journey_pipelines.intake.shape import detect


def write(tmp_path: Path, text: str | bytes, name: str = "file") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("id,at\n1,1997-01-01\n2,1997-01-02\n", "CSV with commas, header, columns: id, at"),
        ("id\tat\n1\t1997-01-01\n", "CSV with tabs, header, columns: id, at"),
        ("id;at\r\n1;1997-01-01\r\n", "CSV with semicolons, header, columns: id, at"),
        ("id|at\n1|1997-01-01\n", "CSV with bars, header, columns: id, at"),
        ("1,1997-01-01\n2,1997-01-02\n", "CSV with commas, no header, columns: c1, c2"),
        (" id  at\n 1  19970101\n 2  19970102\n", "whitespace-separated, header, columns: id, at"),
        ("1 19970101\n2 19970102\n", "whitespace-separated, no header, columns: c1, c2"),
        ('{"id": 1}\n{"id": 2}\n', "JSON lines"),
        ('\n{"id": 1}\n', "JSON lines"),
        ("id\n1\n2\n", "CSV with commas, header, columns: id"),
        ('id,note\n1,"a, b"\n2,"c; d"\n', "CSV with commas, header, columns: id, note"),
        ("\ufeffid,at\n1,2\n", "CSV with commas, header, columns: id, at"),
        ("a,a\nb,b\n", "CSV with commas, no header, columns: c1, c2"),
    ],
)
def test_the_shape_is_found(tmp_path: Path, text: str, described: str) -> None:
    assert detect(write(tmp_path, text)).describe() == described


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"id,at\n1,2\n"), "no_extension")
    assert detect(path).describe() == "CSV with commas, gzip, header, columns: id, at"


def test_what_is_given_overrides_what_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, "a b,c d\ne f,g h\n")
    assert detect(path).columns == ("a_b", "c_d")
    assert detect(path, format="whitespace").columns == ("c1", "c2", "c3")
    assert detect(path, header=False).columns == ("c1", "c2")
    assert detect(path, header=False, columns=["left", "right"]).columns == ("left", "right")
    assert detect(path, delimiter=" ").delimiter == " "
    assert detect(write(tmp_path, "a\tb\n1\t2\n"), delimiter="tab").columns == ("a", "b")


def test_columns_get_names_that_a_template_can_write(tmp_path: Path) -> None:
    path = write(tmp_path, "Order Date,id,id,2nd,in,\nx,1,2,3,4,5\n")
    assert detect(path, header=True).columns == ("Order_Date", "id", "id_2", "c2nd", "in_", "c6")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no line in it"),
        ("\n \n", "has no line in it"),
        ('[{"id": 1}]', "is a JSON array; write one object on each line"),
        ('{\n  "id": 1\n}\n', "looks like JSON, but the first line is not one object"),
        ("id,at\n1,2\n".encode("utf-16"), "looks like UTF-16; save it as UTF-8"),
        (gzip.compress(b"id,at\n" * 1000, mtime=0)[:40], "cannot be read"),
        (b"\x1f\x8bnot gzip at all", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(FileUnreadable, match=said):
        detect(write(tmp_path, text))


def test_wrong_options_say_what_is_wrong(tmp_path: Path) -> None:
    path = write(tmp_path, "id,at\n1,2\n")
    with pytest.raises(FileUnreadable, match="no such file"):
        detect(tmp_path / "missing")
    with pytest.raises(FileUnreadable, match="must be one character"):
        detect(path, delimiter="::")
    with pytest.raises(FileUnreadable, match="names 3 columns, the first line has 2"):
        detect(path, columns=["a", "b", "c"])
    with pytest.raises(FileUnreadable, match="not known to Python"):
        detect(path, encoding="utf-9")
