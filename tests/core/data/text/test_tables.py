import csv
import io
import json
import time

import pytest

from mmgan.data.text.dataset import TextConfig, TextData, open_folder
from mmgan.data.text.sources import TextFolder
from mmgan.errors import DataError

QUOTES = ["To be, or not to be", 'He said "no"', "Two\nlines", "größe 始", "  spaces  ", "a;b|c\td"]
CLEAN = ["To be, or not to be", 'He said "no"', "Two lines", "größe 始", "spaces", "a;b|c d"]


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path, column=""):
    """The texts, and the source afterwards."""
    source = TextFolder(path, column)
    return list(source.texts()), source


def load(path, column="", **settings):
    config = TextConfig(plugin="test", tokenizer="word", length=8, column=column, **settings)
    return TextData(open_folder(str(path), config), config)


def as_csv(rows, **options):
    file = io.StringIO(newline="")
    csv.writer(file, **options).writerows(rows)
    return file.getvalue()


def as_lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


RECORDS = [{"id": number, "text": text, "author": f"A{number}"} for number, text in enumerate(QUOTES)]
ROWS = [["id", "text", "author"], *([n, text, f"A{n}"] for n, text in enumerate(QUOTES))]
FILES = {
    "plain.csv": as_csv(ROWS),
    "unix.csv": as_csv(ROWS, lineterminator="\n"),
    "semicolon.csv": as_csv(ROWS, delimiter=";"),
    "bar.csv": as_csv(ROWS, delimiter="|"),
    "tab.csv": as_csv(ROWS, delimiter="\t"),
    "all quoted.CSV": as_csv(ROWS, quoting=csv.QUOTE_ALL),
    "tab.tsv": as_csv(ROWS, delimiter="\t"),
    "mark.csv": as_csv(ROWS).encode("utf-8-sig"),
    "mark and quotes.csv": as_csv(ROWS, quoting=csv.QUOTE_ALL).encode("utf-8-sig"),
    "wide.csv": as_csv(ROWS).encode("utf-16"),
    "lines.jsonl": as_lines(RECORDS),
    "lines.ndjson": as_lines(RECORDS),
    "mark.jsonl": as_lines(RECORDS).encode("utf-8-sig"),
    "wide.jsonl": as_lines(RECORDS).encode("utf-16"),
    "list.json": json.dumps(RECORDS),
    "pretty.json": json.dumps(RECORDS, indent=2, ensure_ascii=False).encode("utf-8-sig"),
    "lines.json": as_lines(RECORDS),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("column", ["", "text"])
def test_every_kind_of_table(name, column, tmp_path):
    texts, source = read(save(tmp_path / name, FILES[name]), column)
    assert texts == CLEAN
    assert (source.skipped, source.blank) == ([], 0)
    assert source.columns == [(name, "text")]
    assert list(source.texts()) == CLEAN
    assert read(tmp_path / name, "author")[0] == [f"A{number}" for number in range(6)]


@pytest.mark.parametrize("name", ["strings.json", "strings.jsonl", "strings.ndjson"])
def test_texts_without_columns(name, tmp_path):
    content = json.dumps(QUOTES) if name.endswith(".json") else as_lines(QUOTES)
    texts, source = read(save(tmp_path / name, content))
    assert texts == CLEAN
    assert source.columns == []


def test_the_only_column_of_texts_is_taken_and_said(tmp_path):
    rows = [["", "score", "quote"], *([n, n / 7, f"quote {n}"] for n in range(50))]
    data = load(save(tmp_path / "quotes.csv", as_csv(rows)))
    assert len(data) + len(data.held_out) == 50
    assert data.description.endswith('; column "quote" of quotes.csv')
    records = [{"n": n, "gone": None, "quote": f"quote {n}", "tags": ["a"]} for n in range(50)]
    data = load(save(tmp_path / "quotes.jsonl", as_lines(records)))
    assert data.description.endswith('; column "quote" of quotes.jsonl')


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_which_column_is_not_clear(name, tmp_path):
    records = [{"id": n, "quote": f"q {n}", "author": f"a {n}"} for n in range(5)]
    rows = as_csv([list(records[0]), *(list(record.values()) for record in records)])
    content = {"a.csv": rows, "a.jsonl": as_lines(records), "a.json": json.dumps(records)}[name]
    path = save(tmp_path / name, content)
    with pytest.raises(DataError, match="has several columns of texts") as caught:
        load(path)
    assert "Its columns are 'id', 'quote', 'author'." in caught.value.message
    assert "--set column=NAME" in caught.value.hint
    with pytest.raises(DataError, match=r"has no column 'qoute'. Did you mean 'quote'\?"):
        load(path, "qoute")
    assert len(load(path, "quote").texts) == 4
    # In a folder it is skipped, and the others stay.
    save(tmp_path / "b.jsonl", as_lines([{"quote": f"b {n}"} for n in range(5)]))
    texts, source = read(tmp_path)
    assert texts == [f"b {n}" for n in range(5)]
    assert source.skipped[0][0] == name
    assert "Its columns are" in source.skipped[0][1]


def test_no_column_of_texts(tmp_path):
    with pytest.raises(DataError, match="has no column of texts. Its columns are 'a', 'b'"):
        load(save(tmp_path / "a.csv", "a,b\n1,2\n3,4\n"))


def test_hostile_names_of_columns(tmp_path):
    columns = {f"{n}\n\x1b[31m{'x' * 100_000}": "text" for n in range(100)}
    with pytest.raises(DataError, match=r"and 80 more\.") as caught:
        read(save(tmp_path / "a.json", json.dumps([columns])), "y" * 100_000)
    assert len(caught.value.message) < 2_000
    assert caught.value.message.isprintable()


def test_a_folder_of_tables(tmp_path):
    save(tmp_path / "a" / "1.csv", as_csv([["text"], ["one"]]))
    save(tmp_path / "a" / "2.jsonl", as_lines([{"text": "two"}]))
    save(tmp_path / "b.json", json.dumps([{"body": "three"}]))
    save(tmp_path / "c.parquet", b"PAR1")
    data = load(tmp_path)
    assert set(data.texts + data.held_out_texts) >= {"two"} or len(data) == 2
    assert data.description.endswith(
        '; column "text" of a/1.csv, a/2.jsonl; column "body" of b.json; 1 other file (1 .parquet)'
    )


def test_beside_text_files_tables_need_a_name(tmp_path):
    save(tmp_path / "a.txt", "one\ntwo\n")
    save(tmp_path / "about.csv", "file,licence\na.txt,MIT\n")
    save(tmp_path / "more.jsonl", as_lines([{"text": "three"}]))
    texts, source = read(tmp_path)
    assert texts == ["one", "two"]
    assert source.others == 2
    texts, source = read(tmp_path, "text")
    assert texts == ["one", "two", "three"]
    assert source.skipped[0][0] == "about.csv"


def test_a_column_where_there_are_no_tables(tmp_path):
    with pytest.raises(DataError, match=r"column = 'text', but in .*a.txt' there is no table") as caught:
        load(save(tmp_path / "a.txt", "one\ntwo\nthree\n"), "text")
    assert "take --set column away" in caught.value.hint


def test_a_table_as_a_text_file_stays_lines(tmp_path):
    assert read(save(tmp_path / "a.txt", "text,b\n1,2\n"))[0] == ["text,b", "1,2"]


# CSV.


def test_a_csv_file_without_a_header(tmp_path):
    path = save(tmp_path / "a.csv", as_csv([[text, n] for n, text in enumerate(QUOTES)]))
    texts, source = read(path, "1")
    assert texts == CLEAN
    assert source.columns == [("a.csv", "1")]
    with pytest.raises(DataError, match="has no column '3'") as caught:
        read(path, "3")
    assert "without a header give its number" in caught.value.hint
    # A name wins over a number.
    assert read(save(tmp_path / "b.csv", "2,1\na,b\n"), "1")[0] == ["b"]


def test_one_column(tmp_path):
    texts, source = read(save(tmp_path / "a.csv", "quote\none\n\ntwo\n"))
    assert texts == ["one", "two"]
    assert source.columns == [("a.csv", "quote")]


def test_spaces_behind_delimiters_and_around_names(tmp_path):
    texts, _ = read(save(tmp_path / "a.csv", 'id, text \n1, "a, b"\n2, c\n'), "text")
    assert texts == ["a, b", "c"]


def test_names_that_are_there_twice_or_empty(tmp_path):
    path = save(tmp_path / "a.csv", "text,text,\na,b,c\n")
    with pytest.raises(DataError, match="has 2 columns 'text'"):
        read(path, "text")
    with pytest.raises(DataError, match="has 2 columns 'text'"):
        read(path)
    assert read(save(tmp_path / "b.csv", ",,quote\n1,2,c\n"))[0] == ["c"]


def test_rows_that_are_too_long_or_too_short(tmp_path):
    rows = "id,text\n1,one\n2,two, and more\n3\n4,four,,\n5,five\n6,six\n"
    texts, source = read(save(tmp_path / "a.csv", rows))
    assert texts == ["one", "four", "five", "six"]
    assert source.skipped == [
        ("line 3 of a.csv", "more fields than columns: quotes are missing"),
        ("line 4 of a.csv", "too few fields"),
    ]


def test_mostly_broken_rows_are_not_a_table(tmp_path):
    texts, source = read(save(tmp_path / "a.csv", "text\n" + "some, with commas\n" * 10 + "none\n"))
    assert texts == []
    assert source.skipped == [("a.csv", "more fields than columns: quotes are missing in 10 of 11 lines")]


@pytest.mark.parametrize("before", [0, 3])
def test_a_quote_that_is_never_closed_costs_its_line(before, tmp_path):
    good = [f'{n},"text {n}"' for n in range(100)]
    lines = ["id,text", *good[:before], '999,"open', *good[before:]]
    texts, source = read(save(tmp_path / "a.csv", "\n".join(lines)))
    assert texts == [f"text {n}" for n in range(100)]
    assert source.skipped == [(f"line {before + 2} of a.csv", "not CSV: a quote too many or too few")]


def test_an_open_quote_at_the_end(tmp_path):
    texts, source = read(save(tmp_path / "a.csv", 'text\n"one"\ntwo\n"three\nfour\nfive'))
    assert texts == ["one", "two", "four", "five"]
    assert source.skipped == [("line 4 of a.csv", "not CSV: a quote too many or too few")]


@pytest.mark.slow
@pytest.mark.parametrize("line", ['a","', '"', '""', '"""', ',"""', 'a,""', '"a', "'", '"x"y'])
def test_quotes_take_no_ages(line, tmp_path):
    started = time.perf_counter()
    content = "text,b\n" + f"{line}\n" * (1_200_000 // (len(line) + 1))
    try:
        for _ in read(save(tmp_path / "a.csv", content), "text"):
            pass
    except DataError:
        pytest.fail("the column is there")
    assert time.perf_counter() - started < 30


def test_huge_fields(tmp_path):
    large, giant = "x" * 900_000, "y" * 1_100_000
    rows = [["id", "text"], [1, large], [2, giant], [3, "three"], [4, "four\n" * 180_000], [5, "five"]]
    texts, source = read(save(tmp_path / "a.csv", as_csv(rows)))
    assert texts == [large, "three", " ".join(["four"] * 180_000), "five"]
    assert source.skipped == [("line 3 of a.csv", "more than 1,000,000 characters")]


def test_a_giant_field_of_many_lines_is_not_held(tmp_path):
    rows = [["id", "text"], [1, "one"], [2, "two\n" * 300_000], [3, "three"]]
    texts, source = read(save(tmp_path / "a.csv", as_csv(rows)))
    assert texts == []
    assert source.skipped[0][0] == "a.csv"
    assert source.skipped[0][1].startswith("too few fields in ")


def test_a_record_of_many_columns(tmp_path):
    rows = [[f"c{n}" for n in range(100_000)], *(["1"] * 99_999 + [f"text {n}"] for n in range(20))]
    texts, _ = read(save(tmp_path / "a.csv", as_csv(rows)))
    assert texts == [f"text {n}" for n in range(20)]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json"])
@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"text", b"\xff\xfe", b"\0\0", b"[", b"{", b'"', b",", b"[]"]
)
def test_next_to_nothing(name, content, tmp_path):
    with pytest.raises(DataError) as caught:
        load(save(tmp_path / name, content))
    assert caught.value.hint


# Bad bytes.


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_a_bad_byte_costs_its_record(kind, tmp_path):
    records = [{"id": n, "text": f"text {n} ü"} for n in range(300)]
    content = {
        "csv": as_csv([["id", "text"], *(record.values() for record in records)], lineterminator="\n"),
        "jsonl": "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records),
        "json": json.dumps(records, ensure_ascii=False),
    }[kind].encode()
    content = content.replace("text 150 ü".encode(), b"text 150 \xfc")
    texts, source = read(save(tmp_path / f"a.{kind}", content))
    assert texts == [f"text {n} ü" for n in range(300) if n != 150]
    place = {"csv": "line 152", "jsonl": "line 151", "json": "item 151"}[kind]
    assert source.skipped == [(f"{place} of a.{kind}", "not UTF-8")]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_another_encoding(kind, tmp_path):
    records = [{"text": f"größe {n}"} for n in range(30)]
    content = {
        "csv": as_csv([["text"], *(record.values() for record in records)]),
        "jsonl": "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records),
    }[kind]
    _, source = read(save(tmp_path / f"a.{kind}", content.encode("latin-1")))
    assert source.skipped == [(f"a.{kind}", "not UTF-8 in 30 of 30 lines; convert it with iconv")]


# JSON.


def test_lines_that_are_not_json_or_not_text(tmp_path):
    good = [json.dumps({"text": f"text {n}"}) for n in range(20)]
    bad = [
        "{",
        '{"text": "a"} x',
        "text",
        '{"text": 5}',
        '{"text": ["a"]}',
        '{"text": {"a": "b"}}',
        '{"text": true}',
        "[" * 100_000,
        "5",
        '["a"]',
    ]
    empty = ['{"text": null}', '{"text": ""}', '{"text": "  "}', '{"other": "x"}', "null"]
    texts, source = read(save(tmp_path / "a.jsonl", "\n".join([*good, *bad, "", *empty])))
    assert texts == [f"text {n}" for n in range(20)]
    assert source.skipped == [
        ("3 lines of a.jsonl", "not JSON: lines 21-23"),
        ("6 lines of a.jsonl", "not a text: lines 24-27, 29-30"),
        ("line 28 of a.jsonl", "nested too deeply"),
    ]
    assert source.blank == 5


def test_numbers_of_thousands_of_digits(tmp_path):
    for number in ("9" * 5_000, "-" + "9" * 400_000, "1e999999", "0." + "1" * 300_000):
        for name, content in {
            "a.jsonl": f'{{"n": {number}, "text": "fine"}}\n{{"n": 1, "text": {number}}}\n{{"text": "too"}}',
            "a.json": f'[{{"n": {number}, "text": "fine"}}, {{"text": {number}}}, {{"text": "too"}}]',
        }.items():
            texts, source = read(save(tmp_path / name, content))
            assert texts == ["fine", "too"]
            assert [reason for _, reason in source.skipped] == ["not a text"]


def test_half_characters_in_json(tmp_path):
    assert read(save(tmp_path / "a.jsonl", '{"text": "a\\ud83d b"}\n'))[0] == ["a b"]


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ('["a", "b", "c", nonsense, "d"]', 3),
        ('["a", "b", "c" "d"]', 3),
        ('["a", "b", "c",', 3),
        ('["a", "b", "c"', 3),
        ('["a", "b", "c"] "more"', 3),
        ('["a", "b", "c"]["d"]', 3),
        ('["a", "b", "c", ' + "[" * 100_000, 3),
        ('["a", "b", "c", {"text": "d"', 3),
    ],
)
def test_a_list_that_is_broken(content, count, tmp_path):
    texts, source = read(save(tmp_path / "a.json", content))
    assert texts == ["a", "b", "c"]
    assert source.skipped == [("item 4 of a.json", "not JSON, and what follows is lost")]


def test_objects_and_texts_in_one_list(tmp_path):
    assert read(save(tmp_path / "a.json", '["a", {"text": "b"}]'))[0] == ["a", "b"]


def test_an_object_instead_of_a_list(tmp_path):
    _, source = read(save(tmp_path / "a.json", json.dumps({"data": [{"text": "a"}] * 9}, indent=1)))
    assert source.skipped[0][0] == "a.json"
    assert source.skipped[0][1].startswith("not JSON in ")


def test_a_list_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("mmgan.data.text.tables._LARGEST_LIST", 1 << 20)
    _, source = read(save(tmp_path / "a.json", json.dumps(["x" * 1000] * 2000)))
    assert source.skipped == [("a.json", "longer than 1 MiB: make it .jsonl, with one object a line")]
    assert read(save(tmp_path / "b.json", json.dumps(["x" * 1000] * 1000)))[0] == ["x" * 1000] * 1000


def test_a_giant_line_of_json(tmp_path):
    content = as_lines([{"text": "a"}, {"text": "b", "more": "x" * 3_000_000}, {"text": "c"}, {"text": "d"}])
    texts, source = read(save(tmp_path / "a.jsonl", content))
    assert texts == ["a", "c", "d"]
    assert source.skipped == [("line 2 of a.jsonl", "more than 1,000,000 characters")]


def test_a_list_in_one_giant_line(tmp_path):
    assert len(read(save(tmp_path / "a.json", json.dumps(["x" * 100] * 50_000)))[0]) == 50_000
