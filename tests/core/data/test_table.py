"""Labels, captions and columns of files: by the ecosystem's conventions, and whatever else lies there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgan.data import metadata
from mmgan.data.table import Table, class_names, read_table
from mmgan.data.tree import FileTree
from mmgan.errors import DataError

NAMES = ["cat/1.png", "cat/2.png", "dog/1.png", "top.png"]
Columns = Mapping[str, Sequence[object]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"picture")
    return tmp_path


def jsonl(*rows: object) -> str:
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)


def columns(root: Path) -> Columns:
    """Read a table that must have no problems."""
    table = read_table(root, NAMES)
    assert table.problems == []
    return table.columns


def said(root: Path, problem: str) -> Columns:
    """Read a table that must have one problem."""
    table = read_table(root, NAMES)
    ((where, what),) = table.problems
    assert problem in f"{where}: {what}"
    return table.columns


def test_without_any_there_are_no_columns(root: Path) -> None:
    assert read_table(root, NAMES) == Table({}, "", [])
    assert read_table(root, []) == Table({}, "", [])


def test_json_lines(root: Path) -> None:
    rows = [
        {"file_name": "dog/1.png", "label": "dog", "score": 0.5, "seen": True},
        {"file_name": "cat/1.png", "label": "cat", "score": 2, "text": " a cat \n", "seen": None},
    ]
    (root / "metadata.jsonl").write_text(jsonl(*rows), encoding="utf-8")
    assert columns(root) == {
        "label": ["cat", None, "dog", None],
        "score": [2, None, 0.5, None],
        "seen": [None, None, True, None],
        "text": ["a cat", None, None, None],
    }


def test_csv_columns_become_numbers_where_all_values_are(root: Path) -> None:
    (root / "metadata.csv").write_text(
        "file_name,label,count,width,code,text\n"
        'cat/1.png,3,7,1.5,7,"a ""big"" cat, asleep\non a mat"\n'
        "cat/2.png,10,-1,2,x,\n"
        "dog/1.png,,,-1e3,,\n",
        encoding="utf-8",
    )
    assert columns(root) == {
        "label": ["3", "10", None, None],
        "count": [7, -1, None, None],
        "width": [1.5, 2.0, -1000.0, None],
        "code": ["7", "x", None, None],
        "text": ['a "big" cat, asleep\non a mat', None, None, None],
    }
    assert [type(value) for value in columns(root)["count"]] == [int, int, type(None), type(None)]


def test_metadata_in_a_subfolder_names_files_from_there(root: Path) -> None:
    (root / "cat" / "metadata.csv").write_text("file_name,label\n1.png,tabby\n./2.png,tom\n")
    (root / "dog" / "metadata.jsonl").write_text(jsonl({"file_name": "1.png", "age": 3}))
    assert columns(root) == {"label": ["tabby", "tom", None, None], "age": [None, None, 3, None]}


def test_of_two_descriptions_the_nearest_counts(root: Path) -> None:
    (root / "metadata.csv").write_text("file_name,label\ncat/1.png,far\ndog/1.png,far\n")
    (root / "cat" / "metadata.csv").write_text("file_name,label\n1.png,near\n")
    found = said(root, "metadata.csv:2: names 'cat/1.png', which metadata nearer to it describes")
    assert found == {"label": ["near", None, "far", None]}


def test_captions_beside_files(root: Path) -> None:
    (root / "cat" / "1.txt").write_bytes("\ufeff  ein Kätzchen\r\n".encode())
    (root / "cat" / "2.TXT").write_text("shouted")
    (root / "dog" / "1.txt").write_text(" \n")
    (root / "top.txt").touch()
    (root / "cat" / "readme.txt").write_text("about")
    assert columns(root) == {"text": ["ein Kätzchen", "shouted", None, None]}


def test_the_text_of_metadata_wins_over_a_caption(root: Path) -> None:
    (root / "metadata.csv").write_text("file_name,text\ncat/1.png,of metadata\ncat/2.png,\n")
    (root / "cat" / "1.txt").write_text("of a caption")
    (root / "cat" / "2.txt").write_text("of a caption")
    assert columns(root) == {"text": ["of metadata", "of a caption", None, None]}


def test_a_text_that_is_data_is_not_a_caption(tmp_path: Path) -> None:
    for name in ("a.txt", "a.md"):
        (tmp_path / name).write_text("data")
    assert read_table(tmp_path, ["a.md", "a.txt"]).columns == {}


def test_labels_and_captions_are_texts(root: Path) -> None:
    rows = [("cat/1.png", 3), ("cat/2.png", 10.0), ("dog/1.png", True), ("top.png", 1.5)]
    (root / "metadata.jsonl").write_text(
        jsonl(*({"file_name": name, "label": value, "text": value} for name, value in rows))
    )
    assert columns(root) == {"label": ["3", "10", "true", "1.5"], "text": ["3", "10", "true", "1.5"]}


def test_class_names_are_sorted_as_numbers_if_all_are() -> None:
    assert class_names(["10", "9", None, "-1", "10"]) == ["-1", "9", "10"]
    assert class_names(["10", "9", "a"]) == ["10", "9", "a"]
    assert class_names([None]) == []


def test_windows_wrote_it(root: Path) -> None:
    (root / "metadata.csv").write_bytes("\ufefffile_name,label\r\ncat\\1.png,Kätzchen\r\n".encode())
    assert columns(root) == {"label": ["Kätzchen", None, None, None]}
    (root / "metadata.csv").unlink()
    row = jsonl({"file_name": "cat\\1.png", "label": "a"}).replace("\n", "\r\n")
    (root / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + row.encode())
    assert columns(root) == {"label": ["a", None, None, None]}


def test_the_index_of_pandas_and_white_space_of_a_header_are_dropped(root: Path) -> None:
    (root / "metadata.csv").write_text(",file_name, label,\n0,cat/1.png, a,\n\n1,cat/2.png,b,\n")
    assert columns(root) == {"label": ["a", "b", None, None]}


def test_the_fingerprint_is_of_what_is_said_and_not_of_how(root: Path) -> None:
    (root / "metadata.csv").write_text("file_name,label,text\ncat/1.png,a,x\ncat/2.png,b,\n")
    first = read_table(root, NAMES).fingerprint
    (root / "metadata.csv").write_text("file_name,text,label\ncat/2.png,,b\ncat/1.png,,a\n")
    (root / "cat" / "1.txt").write_text("x\n")
    assert read_table(root, NAMES).fingerprint == first != ""
    (root / "cat" / "1.txt").write_text("y\n")
    assert read_table(root, NAMES).fingerprint != first


@pytest.mark.parametrize(
    "name", ["../cat/1.png", "/etc/passwd", "cat", "", "..", "cat/../../x", "\0", "x\udc80", "C:\\1.png"]
)
def test_what_is_not_a_file_below_is_a_problem(root: Path, name: str) -> None:
    (root / "cat" / "metadata.jsonl").write_text(
        jsonl({"file_name": name}, {"file_name": "1.png", "label": "a"})
    )
    assert said(root, "cat/metadata.jsonl:1: names") == {"label": ["a", None, None, None]}


def test_no_absolute_path_even_of_a_file_that_is_there(root: Path) -> None:
    (root / "metadata.jsonl").write_text(jsonl({"file_name": str(root / "top.png"), "label": 1}))
    assert said(root, "not among the files") == {}


def test_the_first_of_two_lines_counts(root: Path) -> None:
    (root / "metadata.csv").write_text("file_name,label\ncat/1.png,a\ncat/./1.png,b\n")
    assert said(root, "metadata.csv:3: names 'cat/./1.png' again") == {"label": ["a", None, None, None]}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{not json", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"label": 1}', "no file_name"),
        (b'{"file_name": 7}', "file_name is not a text"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"file_name": "top.png", "a": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"file_name": "top.png", "a": ' + b"9" * 100 + b"}", "'a': an integer of more than 64 bits"),
        (b'{"file_name": "top.png", "a": 1e999}', "'a': not a finite number"),
        (b'{"file_name": "top.png", "a": NaN}', "'a': not a finite number"),
        (b'{"file_name": "top.png", "label": -Infinity}', "'label': not a finite number"),
        (b'{"file_name": "top.png", "a": [1]}', "'a': a list or an object"),
        (b'{"file_name": "top.png", "text": {"en": "x"}}', "'text': a list or an object"),
        (b'{"file_name": "top.png", "a": "\\ud800"}', "'a': not UTF-8"),
        (b'{"file_name": "top.png", "a": "\xff"}', "'a': not UTF-8"),
        (b'{"file_name": "top.png", "\xff": "a"}', "not UTF-8"),
        (b'{"file_name": "top.png", "a": "\\u0000"}', "'a': not text"),
        (b'{"file_name": "top.png", "a": "' + b"x" * 70_000 + b'"}', "'a': longer than 64 KiB"),
        (b'{"file_name": "top.png", "": 1}', "a column's name has 1 to 200"),
        (b'{"file_name": "top.png", "' + b"x" * 300 + b'": 1}', "a column's name has 1 to 200"),
        (b'{"file_name": "top.png", "a": "' + b"x" * (2 << 20) + b'"}', "a line of more than 1 MiB"),
    ],
)
def test_a_bad_line_is_a_problem_and_the_others_count(root: Path, line: bytes, problem: str) -> None:
    good = jsonl({"file_name": "cat/1.png", "label": 1}).encode()
    (root / "metadata.jsonl").write_bytes(line + b"\n" + good)
    assert said(root, problem) == {"label": ["1", None, None, None]}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'top.png,"a"b', "metadata.csv:2: not CSV"),
        (b"top.png,a,b,c", "metadata.csv:2: 4 fields where the first line names 3 columns"),
        (b",a", "metadata.csv:2: no file_name"),
        (b"top.png,\xff", "'label': not UTF-8"),
        (b"top.png,a\0b", "'label': not text"),
        (b"top.png," + b"x" * 70_000, "'label': longer than 64 KiB"),
        (b"top.png," + b"x" * 200_000, "metadata.csv:2: not CSV"),
        (b"top.png," + b"x" * (2 << 20), "metadata.csv:2: a line of more than 1 MiB"),
        (b'"\n\n\n",a', "metadata.csv:2: names"),
    ],
)
def test_a_bad_line_of_csv_is_a_problem_and_the_others_count(root: Path, line: bytes, problem: str) -> None:
    (root / "metadata.csv").write_bytes(b"file_name,label,size\n" + line + b"\ncat/1.png,a,5\n")
    assert said(root, problem) == {"label": ["a", None, None, None], "size": [5, None, None, None]}


def test_a_quotation_mark_that_is_never_closed(root: Path) -> None:
    (root / "metadata.csv").write_text('file_name,label\ncat/1.png,a\ntop.png,"b\ncat/2.png,c\n')
    assert said(root, "metadata.csv:3: not CSV") == {"label": ["a", None, None, None]}


@pytest.mark.parametrize(
    "number", ["nan", "1e999", "1_000", "0x1", "٣", "9" * 19, "9" * 5000, "infinity", "+", "."]
)
def test_csv_that_is_not_all_finite_numbers_is_text(root: Path, number: str) -> None:
    (root / "metadata.csv").write_text(f"file_name,a\ncat/1.png,{number}\ncat/2.png,1\n", encoding="utf-8")
    assert columns(root) == {"a": [number, "1", None, None]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.csv", b"name;label\n1.png;a\n", "has no column file_name; its first line is 'name;label'"),
        ("metadata.csv", b"\xff\xfef\0i\0l\0e\0", "has no column file_name"),
        ("metadata.csv", b"\n\n", "has no column file_name"),
        ("metadata.csv", b'"file_name,a\n1.png,b\n', "has no column file_name"),
        ("metadata.csv", b"file_name\rtop.png", "has no column file_name"),
        ("metadata.csv", b"file_name,a,a\n", "has two columns 'a'"),
        ("metadata.csv", b"", "empty file"),
        ("metadata.jsonl", b"", "empty file"),
        ("metadata.jsonl", b"\n", "names no file"),
        ("metadata.jsonl", b"\x00\xff" * 100, "names no file"),
        ("metadata.jsonl", b'{"file": "1.png"}\n', """the first is \'{"file": "1.png"}\'"""),
    ],
)
def test_a_file_that_is_of_no_use_is_an_error(root: Path, name: str, content: bytes, message: str) -> None:
    (root / "cat" / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(root, NAMES)
    assert message in caught.value.message
    assert repr(str(root / "cat" / name)) in caught.value.message


def test_both_files_in_one_folder_are_an_error(root: Path) -> None:
    for name in metadata.METADATA:
        (root / name).write_text(jsonl({"file_name": "top.png"}))
    with pytest.raises(DataError, match=r"has both metadata\.csv and metadata\.jsonl"):
        read_table(root, NAMES)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_no_pipe_is_waited_for(root: Path) -> None:
    os.mkfifo(root / "top.txt")
    assert said(root, "top.txt: not an ordinary file") == {}
    os.mkfifo(root / "metadata.csv")
    with pytest.raises(DataError, match="can't be read: not an ordinary file"):
        read_table(root, NAMES)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfea\0", "not text"),
        (b"caf\xe9", "not UTF-8"),
        (b"x" * ((64 << 10) + 1), "longer than 64 KiB"),
        ("\u00e9".encode() * (40 << 10), "longer than 64 KiB"),
    ],
)
def test_a_caption_that_is_not_text_is_a_problem(root: Path, content: bytes, problem: str) -> None:
    (root / "cat" / "1.txt").write_bytes(content)
    assert said(root, f"cat/1.txt: {problem}") == {}


def test_a_caption_that_leads_nowhere_is_a_problem(root: Path) -> None:
    (root / "top.txt").symlink_to("gone")
    (root / "cat" / "1.txt").mkdir()
    problems = read_table(root, NAMES).problems
    assert [where for where, _ in problems] == ["cat/1.txt", "top.txt"]


def test_a_file_that_is_too_large_is_an_error(root: Path) -> None:
    with (root / "metadata.jsonl").open("wb") as file:
        file.truncate(metadata.FILE_SIZE + 1)  # sparse
    with pytest.raises(DataError, match="at most 1,073,741,824 are read"):
        read_table(root, NAMES)


def test_problems_are_bounded(root: Path) -> None:
    lines = [f"gone{number}.png,a\n" for number in range(1234)]
    (root / "metadata.csv").write_text("file_name,label\n" + "".join(lines))
    problems = read_table(root, NAMES).problems
    assert len(problems) == 101
    assert problems[-1] == ("others", "1,134 more problems")


def test_a_column_of_lists_is_told_of_once(root: Path) -> None:
    (root / "metadata.jsonl").write_text(jsonl(*({"file_name": name, "boxes": [1, 2]} for name in NAMES)))
    assert said(root, "metadata.jsonl:1: 'boxes': a list or an object") == {}


def test_columns_are_bounded(root: Path) -> None:
    row = {"file_name": "top.png"} | {str(number): number for number in range(metadata.COLUMNS + 2)}
    (root / "metadata.jsonl").write_text(jsonl(row))
    table = read_table(root, NAMES)
    assert len(table.columns) == metadata.COLUMNS
    assert [what for _, what in table.problems] == [
        "'1000': one column too many; 1,000 are read",
        "'1001': one column too many; 1,000 are read",
    ]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(metadata.METADATA), st.binary(max_size=200), st.binary(max_size=20))
def test_any_bytes_give_a_table_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes, caption: bytes
) -> None:
    root = tmp_path_factory.mktemp("any")
    (root / name).write_bytes(b"file_name,a\n" + content if content[:1] < b"\x80" else content)
    (root / "1.txt").write_bytes(caption)
    try:
        table = read_table(root, ["1.png"])
    except DataError:
        return
    for values in table.columns.values():
        json.dumps(list(values), allow_nan=False).encode()
        assert len(values) == 1


@pytest.mark.slow
def test_a_hundred_thousand_files_take_seconds(tmp_path: Path) -> None:
    names = [f"{number % 100}/{number}.png" for number in range(100_000)]
    rows = ({"file_name": name, "label": name[0], "text": "a caption", "size": 3.5} for name in names)
    (tmp_path / "metadata.jsonl").write_text(jsonl(*rows))
    start = time.perf_counter()
    table = read_table(tmp_path, names)
    assert time.perf_counter() - start < 10
    assert table.problems == []
    assert table.columns["size"] == [3.5] * len(names)


def test_a_tree_has_a_table_and_does_not_count_its_files_among_others(root: Path) -> None:
    (root / "metadata.csv").write_text("file_name,label\ncat/2.png,a\n")
    (root / "cat" / "1.txt").write_text("a caption")
    (root / "readme.txt").write_text("about")
    (root / "x.zip").write_bytes(b"zip")
    tree = FileTree(root, (".png",))
    assert tree.table.columns == {"label": [None, "a", None, None], "text": ["a caption", None, None, None]}
    assert (tree.others, dict(tree.endings)) == (2, {".zip": 1, ".txt": 1})


def test_a_single_file_has_no_table(root: Path) -> None:
    (root / "top.txt").write_text("a caption")
    assert FileTree(root / "top.png", ()).table == Table()
