import os
import pickle
import unicodedata

import pytest
import torch

from mmgan.config import resolve
from mmgan.data.dataset import Draw
from mmgan.data.loader import Loader
from mmgan.data.text.dataset import TextConfig, TextData, open_folder
from mmgan.data.text.sources import TextFolder, clean_text
from mmgan.data.text.tokenizers import BOUNDARY, UNKNOWN, tokenizer_from_state
from mmgan.errors import ConfigError, DataError

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
LINES = [f"{first} {second}" for first in WORDS for second in WORDS]


def config(**settings):
    return TextConfig(plugin="test", **({"tokenizer": "word", "length": 8} | settings))


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, bytes):
        content = "".join(f"{line}\n" for line in content).encode()
    path.write_bytes(content)
    return path


def read(path):
    """The texts, and the source afterwards."""
    source = TextFolder(path)
    return list(source.texts()), source


def load(path, given=None, progress=None, **settings):
    settings = config(**settings)
    return TextData(open_folder(str(path), settings), settings, given, progress)


@pytest.fixture
def lines(tmp_path):
    return save(tmp_path / "lines.txt", LINES)


# Files of all kinds.


def test_one_text_a_line(tmp_path):
    path = save(tmp_path / "a.txt", b"one\ntwo\r\nthree\rfour\n\n  \t \nfive")
    texts, source = read(path)
    assert texts == ["one", "two", "three", "four", "five"]
    assert (source.blank, source.skipped, source.others) == (2, [], 0)
    assert str(source) == repr(str(path))


def test_a_folder_in_the_order_of_its_names(tmp_path):
    save(tmp_path / "b.text", ["3"])
    save(tmp_path / "a" / "z.TXT", ["1"])
    save(tmp_path / "a" / "z" / "a.txt", ["2"])
    for name in ("notes.md", "table.csv", ".hidden.txt", "no_suffix"):
        save(tmp_path / name, ["no"])
    os.mkfifo(tmp_path / "pipe.txt")
    texts, source = read(tmp_path)
    assert sorted(texts) == ["1", "2", "3"]
    assert texts == list(source.texts())
    assert source.others == 4


def test_a_single_file_whatever_its_suffix(tmp_path):
    assert read(save(tmp_path / "poem.md", ["rose"]))[0] == ["rose"]


def test_names_of_all_kinds(tmp_path):
    names = ["with space.txt", "Größe.txt", "詩.txt", "line\nbreak.txt", "'quote\".txt", "-dash.txt"]
    names.append(os.fsdecode(b"no \xff unicode.txt"))
    for number, name in enumerate(names):
        save(tmp_path / name, [f"text {number}"])
    texts, source = read(tmp_path)
    assert sorted(texts) == [f"text {number}" for number in range(len(names))]
    assert source.skipped == []


def test_links(tmp_path):
    save(tmp_path / "a" / "1.txt", ["one"])
    save(tmp_path / "elsewhere" / "2.txt", ["two"])
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a" / "b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "a" / "broken.txt").symlink_to(tmp_path / "nowhere.txt")
    (tmp_path / "a" / "itself.txt").symlink_to(tmp_path / "a" / "itself.txt")
    texts, source = read(tmp_path / "a")
    assert texts == ["one", "two"]
    assert source.skipped[0] == ("broken.txt", "no such file or directory")
    assert source.skipped[1][0] == "itself.txt"
    assert "symbolic links" in source.skipped[1][1]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    for name in "abc":
        save(tmp_path / name / "x.txt", [name])
    (tmp_path / "a" / "x.txt").chmod(0)
    (tmp_path / "b").chmod(0)
    try:
        texts, source = read(tmp_path)
        assert texts == ["c"]
        assert source.skipped == [("a/x.txt", "permission denied"), ("b", "permission denied")]
    finally:
        (tmp_path / "b").chmod(0o700)


def test_a_file_that_is_gone(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.txt", [name])
    source = TextFolder(tmp_path)
    (tmp_path / "a.txt").unlink()
    assert list(source.texts()) == ["b"]
    assert source.skipped == [("a.txt", "no such file or directory")]


def test_the_fingerprint_is_that_of_the_files(tmp_path):
    save(tmp_path / "a.txt", ["a"])
    before = TextFolder(tmp_path).fingerprint
    assert TextFolder(tmp_path).fingerprint == before
    save(tmp_path / "a.txt", ["ab"])
    assert TextFolder(tmp_path).fingerprint != before


# Hostile files.


def test_encodings(tmp_path):
    text = "Ü 始 \U0001f600\r\ntwo\n"
    for name, content in {
        "mark": text.encode("utf-8-sig"),
        "little": b"\xff\xfe" + text.encode("utf-16-le"),
        "big": b"\xfe\xff" + text.encode("utf-16-be"),
        "joined": text.encode("utf-8-sig") * 2,
    }.items():
        texts, source = read(save(tmp_path / f"{name}.txt", content))
        assert texts == ["Ü 始 \U0001f600", "two"] * (2 if name == "joined" else 1), name
        assert source.skipped == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        ("Größe\nfirst\nÜber\n".encode("latin-1"), "not UTF-8 in 2 of 3 lines; convert it with iconv"),
        ("“Quotes”\nfrom\n\nWord…".encode("cp1252"), "not UTF-8 in 2 of 3 lines; convert it with iconv"),
        ("吾輩は猫\nである。\n".encode("shift-jis"), "not UTF-8 in 2 of 2 lines; convert it with iconv"),
        ("Жизнь\nим\n".encode("koi8-r"), "not UTF-8 in 2 of 2 lines; convert it with iconv"),
        (b"\xef\xbb\xbfab\xff", "not UTF-8 in 1 of 1 line; convert it with iconv"),
        ("始".encode()[:2], "not UTF-8 in 1 of 1 line; convert it with iconv"),
        (b"a" * ((1 << 19) - 1) + b"\xe5b", "not UTF-8 in 1 of 1 line; convert it with iconv"),
        (b"\xed\xa0\x80 a surrogate\n", "not UTF-8 in 1 of 1 line; convert it with iconv"),
        (b"text\nwith a \0 byte\n", "binary: it holds NUL bytes"),
        (b"\x89PNG\r\n\x1a\n\0\0", "binary: it holds NUL bytes"),
        (b"a\n" * (1 << 20) + b"\0", "binary: it holds NUL bytes"),
        (b"a" * (1 << 20) + b"\0", "binary: it holds NUL bytes"),
        (b"a" * (5 << 20) + b"\0" + b"a" * (1 << 20) + b"\n", "binary: it holds NUL bytes"),
        ("text\n".encode("utf-16-le"), "binary: it holds NUL bytes"),
        ("text\n".encode("utf-16-be"), "binary: it holds NUL bytes"),
        ("text\n".encode("utf-32"), "binary: it holds NUL bytes"),
        (b"\xff\xfe" + b"a\0\0\xd8b\0", "not UTF-16 in 1 of 1 line; convert it with iconv"),
        (b"\xff\xfe" + b"a\0b", "not UTF-16 in 1 of 1 line; convert it with iconv"),
        (b"x" * 3_000_000, "more than 1,000,000 characters in 1 of 1 line"),
    ],
)
def test_bad_files_are_skipped_as_a_whole(content, reason, tmp_path):
    save(tmp_path / "bad.txt", content)
    save(tmp_path / "good.txt", ["good"])
    texts, source = read(tmp_path)
    assert texts == ["good"]
    assert source.skipped == [("bad.txt", reason)]
    # A second reading starts anew.
    assert list(source.texts()) == ["good"]
    assert len(source.skipped) == 1


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ([150], ("line 150 of a.txt", "not UTF-8")),
        ([1, 300], ("2 lines of a.txt", "not UTF-8: lines 1, 300")),
        ([7, 8, 9, 20], ("4 lines of a.txt", "not UTF-8: lines 7-9, 20")),
        (
            range(10, 300, 10),
            ("29 lines of a.txt", "not UTF-8: lines 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, …"),
        ),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_bad_byte_costs_its_line(bad, named, end, tmp_path):
    lines = [f"line {number} ü".encode() for number in range(1, 301)]
    for number in bad:
        lines[number - 1] = lines[number - 1][:5] + b"\xe9" + lines[number - 1][5:]
    texts, source = read(save(tmp_path / "a.txt", end.join(lines)))
    assert texts == [f"line {number} ü" for number in range(1, 301) if number not in bad]
    assert source.skipped == [named]
    assert source.blank == 0
    data = load(tmp_path / "a.txt")
    assert f"; 1 skipped: {named[0]} ({named[1]})" in data.description
    assert data.skipped == [named]


@pytest.mark.parametrize(
    "damage", [b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\x80"]
)
def test_damage_of_any_kind(damage, tmp_path):
    content = b"one\ntwo " + damage + b"\nthree\nfour"
    texts, source = read(save(tmp_path / "a.txt", content))
    assert texts == ["one", "three", "four"]
    assert source.skipped == [("line 2 of a.txt", "not UTF-8")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_damaged_utf_16(encoding, tmp_path):
    mark = "\ufeff".encode(encoding)
    lines = [f"{line}\n".encode(encoding) for line in ("one ü", "two", "three", "four")]
    half = "\ud800x\n".encode(encoding, "surrogatepass")
    texts, source = read(save(tmp_path / "a.txt", mark + b"".join(lines[:2]) + half + b"".join(lines[2:])))
    assert texts == ["one ü", "two", "three", "four"]
    assert source.skipped == [("line 3 of a.txt", "not UTF-16")]
    # Cut in the middle of a character; and with a byte too few, from which on all is shifted.
    for content in (b"".join(lines)[:-3], b"".join(lines[:3]) + lines[3][1:]):
        texts, source = read(save(tmp_path / "a.txt", mark + content))
        assert texts == ["one ü", "two", "three"]
        assert source.skipped == [("line 4 of a.txt", "not UTF-16")]


def test_a_mark_that_joined_files_have_is_not_damage(tmp_path):
    assert read(save(tmp_path / "a.txt", b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n"))[0] == ["one", "two"]


def test_the_character_for_what_others_could_not_read_is_text(tmp_path):
    texts, source = read(save(tmp_path / "a.txt", "a \ufffd b\n".encode()))
    assert (texts, source.skipped) == (["a \ufffd b"], [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_single_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    source = TextFolder(tmp_path / "pipe.txt")
    assert list(source.texts()) == []
    assert len(source.skipped) == 1


def test_characters_across_two_blocks(tmp_path):
    text = "始終 Ü\U0001f600x\U0001f600"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        for shift in range(8_180, 8_195):  # files are read in blocks of 8 KiB
            content = f"{'a' * shift}{text}\n".encode(encoding)
            texts, source = read(save(tmp_path / "a.txt", content))
            assert (texts, source.skipped) == (["a" * shift + text], [])


def test_a_giant_line_is_skipped(tmp_path):
    giant = b"x" * 3_000_000
    path = save(tmp_path / "a.txt", b"one\r\n" + giant + b"\r\ntwo\n" + b"y" * 1_000_000 + b"\n" + giant)
    texts, source = read(path)
    assert [text[:3] for text in texts] == ["one", "two", "yyy"]
    assert len(texts[2]) == 1_000_000
    assert source.skipped == [("2 lines of a.txt", "more than 1,000,000 characters: lines 2, 5")]
    assert source.blank == 0


@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_the_longest_line(extra, end, tmp_path, monkeypatch):
    monkeypatch.setattr("mmgan.data.text.lines.LONGEST", 10)
    texts, source = read(
        save(
            tmp_path / "a.txt",
            f"one{end or chr(10)}{'x' * (10 + extra)}{end}{'next' if end else ''}".encode(),
        )
    )
    assert texts == ["one"] + ["x" * 10] * (not extra) + ["next"] * bool(end)
    assert len(source.skipped) == bool(extra)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("  a \t b\u00a0\u3000c \n", "a b c"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf\x1cg", "a b c d e f g"),
        ("a\x01b \x1b c\x7f\x80", "ab c"),
        ("\ud800a\udfff", "a"),
        ("\ufeffa \ufeff b", "a b"),
        ("e\u0301", "\u00e9"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("\x01\x02", ""),
        ("👨\u200d👩", "👨\u200d👩"),
    ],
)
def test_clean_text(line, text):
    assert clean_text(line) == text
    assert clean_text(text) == text


def test_nothing_but_text_remains(tmp_path):
    every = "".join(map(chr, [*range(1, 0xD800), *range(0xE000, 0x30000)]))
    path = save(tmp_path / "a.txt", every.encode())
    texts, source = read(path)
    assert source.skipped == []
    for text in texts:
        assert text == " ".join(text.split())
        assert not {unicodedata.category(character) for character in text} & {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.is_normalized("NFC", text)


def test_a_bad_folder_as_a_person_sees_it(tmp_path):
    save(tmp_path / "good.txt", ["one two", "", "three four", "\x01", "five six", "seven"])
    save(tmp_path / "empty.txt", b"")
    save(tmp_path / "line\nbreak.txt", b"\xff")
    save(tmp_path / "cover.png", b"\0")
    data = load(tmp_path)
    assert len(data) == 3
    assert data.skipped[0] == ("empty.txt", "empty file")
    assert data.description.isprintable()
    assert data.description.endswith(
        r"; 2 skipped: empty.txt (empty file), 'line\nbreak.txt' (not UTF-8 in 1 of 1 line; convert it with "
        "iconv)"
        "; 2 blank lines; 1 other file (1 .png)"
    )


# Too little.


def test_too_few_texts_are_an_error(tmp_path):
    with pytest.raises(DataError, match="has no text, .*at least 2 different") as caught:
        load(tmp_path)
    assert caught.value.exit_code == 4
    assert "one text a line" in caught.value.hint
    save(tmp_path / "cover.png", b"\0")
    save(tmp_path / "a.txt", ["", "\t", "only"])
    save(tmp_path / "b.txt", b"\xff")
    with pytest.raises(
        DataError, match=r"has 1 text, .*; 1 skipped: b.txt \(not UTF-8 .*\); 2 blank lines; 1 other file"
    ):
        load(tmp_path)
    save(tmp_path / "a.txt", ["one", "two", "one", "two"])
    with pytest.raises(DataError, match=r"has 4 texts, of which only 2 differ,"):
        load(tmp_path)
    save(tmp_path / "a.txt", ["one", "one"])
    with pytest.raises(DataError, match=r"has 2 texts, of which only 1 differs,"):
        load(tmp_path)
    save(tmp_path / "a.txt", ["one", "two", "three"])
    data = load(tmp_path)
    assert (len(data), len(data.held_out)) == (2, 1)


def test_every_text_empty(tmp_path):
    with pytest.raises(DataError, match=r"has no text, .*; 100 blank lines"):
        load(save(tmp_path / "a.txt", [""] * 100))


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="no folder or file .*nowhere") as caught:
        load(tmp_path / "nowhere")
    assert caught.value.hint


def test_texts_that_sentencepiece_can_not_train_on(tmp_path):
    path = save(tmp_path / "a.txt", ["\u2581", "\u2581\u2581", "\u2585"])
    with pytest.raises(DataError, match="can't train") as caught:
        load(path, tokenizer="sentencepiece")
    assert "tokenizer=char" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.parquet", "a binary table"),
        ("a.XLSX", "a spreadsheet"),
        ("a.csv.gz", "a packed file"),
        ("a.pdf", "a document"),
        ("a.sqlite", "a database"),
        ("a.npy", "a file of Python's"),
    ],
)
def test_a_file_without_lines(name, kind, tmp_path):
    with pytest.raises(DataError, match=f"is {kind}, which is not read") as caught:
        load(save(tmp_path / name, b"PAR1"))
    assert ".jsonl" in caught.value.hint
    # In a folder it is one of the other files.
    save(tmp_path / "a.txt", LINES)
    assert load(tmp_path).description.endswith(f"; 1 other file (1 .{name.lower().rsplit('.', 1)[1]})")


# The split.


def test_no_text_is_on_both_sides(tmp_path):
    path = save(tmp_path / "a.txt", [*LINES, *LINES[::-1], *LINES[:30]])
    data = load(path)
    assert len(data) + len(data.held_out) == 230
    assert set(data.texts) | set(data.held_out_texts) == set(LINES)
    assert not set(data.texts) & set(data.held_out_texts)
    assert len(set(data.held_out_texts)) == 10
    # Equal ones stay together, and each of them counts.
    assert all(
        data.held_out_texts.count(text) == (3 if text in LINES[:30] else 2) for text in data.held_out_texts
    )


def test_both_sides_keep_the_order(lines):
    data = load(lines)
    assert data.texts == [text for text in LINES if text in set(data.texts)]
    assert data.held_out_texts == [text for text in LINES if text in set(data.held_out_texts)]


def test_the_split_is_the_same_whatever_the_tokenizer(lines):
    word, char, pieces = (
        load(lines, tokenizer=tokenizer, length=100) for tokenizer in ("word", "char", "sentencepiece")
    )
    assert word.held_out_texts == char.held_out_texts == pieces.held_out_texts
    assert word.texts == char.texts == pieces.texts


def test_another_seed_gives_another_split(lines):
    one, again, other = (load(lines, seed=seed).held_out_texts for seed in (0, 0, 1))
    assert one == again
    assert one != other


@pytest.mark.parametrize(("part", "count"), [(0.001, 1), (0.1, 10), (0.25, 25), (0.98, 98), (0.999, 98)])
def test_how_many_are_held_out(part, count, lines):
    data = load(lines, held_out=part)
    assert (len(data.held_out), len(data)) == (count, 100 - count)


def test_never_very_many_are_held_out(tmp_path):
    path = save(tmp_path / "a.txt", [f"{number} {number % 7}" for number in range(12_000)])
    assert len(load(path, held_out=0.5).held_out) == 5000


def test_the_tokenizer_is_trained_without_what_is_held_out(lines):
    path = save(lines, [f"word{number}" for number in range(100)])
    data = load(path)
    assert len(data.tokenizer) == 92
    assert data.unknown == 1
    assert data.held_out_texts == ["\N{REPLACEMENT CHARACTER}"] * 10
    assert (data.held_out[:, 0] == UNKNOWN).all()


# The data set.


def test_tokens(tmp_path):
    path = save(tmp_path / "a.txt", ["a b", "a b c d", "a b c d a", "b a", "c", "d"] * 2)
    data = load(path, length=4, seed=2)
    assert data.tokens.dtype == torch.int32
    assert data.held_out.dtype == torch.int64
    assert data.tokens.shape == (10, 4)
    assert data.held_out.shape == (2, 4)
    for row, text in zip(data.tokens.tolist(), data.texts, strict=True):
        words = data.tokenizer.encode(text)
        assert row == words + [BOUNDARY] * (4 - len(words))
        assert data.tokenizer.decode(row) == text
    assert data.cut == 2
    # The cut one is like another one now.
    assert data.texts.count("a b c d") == 4
    assert "10 texts of 1-4 tokens, word with 6 tokens; 2 held out; 2 cut to 4 tokens" in data.description


def test_a_batch(lines):
    data = load(lines)
    indices = torch.tensor([3, 0, 3])
    batch = data.batch(indices, Draw(0, torch.zeros(3, dtype=torch.int64), indices))
    assert batch.dtype == torch.int64
    assert torch.equal(batch, data.tokens[indices].long())
    assert data.tokenizer.decode(batch[0].tolist()) == data.texts[3]


def test_the_description(lines):
    assert load(lines).description == "90 texts of 2 tokens, word with 12 tokens; 10 held out"
    one_word = save(lines, [*LINES, "", "omega"])
    data = load(one_word, vocabulary=11)
    share = data.unknown
    assert 0 < share < 1
    assert (
        f"word with 11 tokens; 10 held out; {100 * share:.2g}% of held-out tokens unknown; 1 blank line"
        in (data.description)
    )
    assert not data.description.endswith("s")


def test_a_given_tokenizer_is_kept(lines, tmp_path):
    data = load(lines)
    other = save(tmp_path / "other.txt", ["alpha new", "beta beta", "gamma"])
    resumed = load(other, tokenizer_from_state(data.tokenizer.state()))
    assert len(resumed.tokenizer) == len(data.tokenizer)
    assert set(resumed.texts + resumed.held_out_texts) == {
        "alpha \N{REPLACEMENT CHARACTER}",
        "beta beta",
        "gamma",
    }


def test_the_same_texts_give_the_same_tokens(lines):
    for kind in ("sentencepiece", "char"):
        one, two = (load(lines, tokenizer=kind, vocabulary=60) for _ in range(2))
        assert torch.equal(one.tokens, two.tokens)
        assert torch.equal(one.held_out, two.held_out)
        assert one.description == two.description


@pytest.mark.process
def test_workers_change_nothing(lines):
    data = load(lines, tokenizer="sentencepiece", vocabulary=60)
    alone, together = Loader(data, 4, seed=3), Loader(data, 4, seed=3, workers=2)
    for _ in range(8):
        assert torch.equal(next(alone), next(together))
    together.close()


def test_it_pickles(lines):
    data = load(lines, tokenizer="sentencepiece", vocabulary=60, progress=lambda done, total: None)
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again.tokens, data.tokens)
    assert again.tokenizer.encode("alpha beta") == data.tokenizer.encode("alpha beta")


def test_progress(tmp_path):
    path = save(tmp_path / "a.txt", [f"text {number}" for number in range(10_000)])
    reports = []
    load(path, progress=lambda done, total: reports.append((done, total)))
    assert reports == sorted(reports)
    assert len(reports) > 2
    assert reports[-1] == (10_000, 10_000)


class Proverbs:
    """A source as a plugin may bring it: no files."""

    others = 0
    blank = 0
    skipped = ()

    def __str__(self):
        return "proverbs"

    def texts(self):
        return iter(["to be", "or to be", "be or to", "to be"])


def test_a_source_from_a_plugin():
    data = TextData(Proverbs(), config(tokenizer="sentencepiece"))
    assert set(data.texts + data.held_out_texts) == set(Proverbs().texts())
    assert len(data) + len(data.held_out) == 4
    assert data.skipped == []


def test_the_settings():
    settings = TextConfig(plugin="test")
    found = settings.tokenizer, settings.vocabulary, settings.length, settings.held_out, settings.column
    assert found == ("auto", 2000, 32, 0.1, "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer": "bpe"}, "tokenizer = 'bpe'.*'auto', 'sentencepiece', 'word' or 'char'"),
        ({"vocabulary": 3}, "vocabulary = 3"),
        ({"length": 1}, "length = 1"),
        ({"held_out": 0}, "held_out = 0"),
        ({"held_out": 1}, "held_out = 1"),
    ],
)
def test_settings_that_are_not_allowed(settings, message):
    with pytest.raises(ConfigError, match=message):
        resolve(TextConfig, "test", flags=settings, environment={})


# Real ones.


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("kjv", 31_103), ("quatrains", 3_772)])
def test_real_texts(name, count, shared_data, capfd):
    path = shared_data / "text" / f"{name}.txt"
    settings = TextConfig(plugin="test")
    data = TextData(open_folder(str(path), settings), settings)
    assert data.tokenizer.kind == ("sentencepiece" if name == "kjv" else "char")
    assert len(data) + len(data.held_out) == count
    assert len(data.tokenizer) == 2000
    assert data.skipped == []
    assert data.unknown == 0 if name == "kjv" else 0.02 < data.unknown < 0.2
    assert int(data.tokens.max()) < 2000
    lines = [" ".join(line.split()) for line in path.read_text(encoding="utf-8").splitlines()]
    if name == "kjv":
        whole = data.tokens[:, -1] == BOUNDARY
        assert {text for text, is_whole in zip(data.texts, whole, strict=True) if is_whole} <= set(lines)
    assert capfd.readouterr() == ("", "")
