"""The plugin from the command line: texts in, texts out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmgan.cli import main

SMALL = [
    *("--batch-size=8", "--device=cpu"),
    *("--set=embedding=8", "--set=hidden=8", "--set=length=9", "--set=tokenizer=word"),
    *("--set=negatives=8", "--set=mle_steps=30", "--set=pretrain_rounds=1"),
    *("--set=iterations=2", "--set=rollouts=2"),
]


@pytest.fixture
def run(rhymes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A small run on texts, through the command line."""
    folder = str(tmp_path / "run")
    assert main(["run", "--plugin", "seqgan", "--data", str(rhymes), "--out", folder, *SMALL]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == folder
    # The texts, and not the picture beside them.
    assert err.count("samples/step-000040.txt") == 2
    return folder


@pytest.mark.slow
def test_texts_in_and_texts_out(run: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["sample", run, "-n", "5", "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    words = {"the", "cat", "dog", "cow", "hen", "pig", "sat", "ran", "ate", "sang", "by"}
    assert set(" ".join(lines).split()) <= words

    assert main(["sample", run, "-n", "5", "--seed", "3", "--out", str(tmp_path / "texts")]) == 0
    assert (tmp_path / "texts/samples.txt").read_text().splitlines() == lines

    assert main(["sample", run, "-n", "5", "--prompt", "the cat", "--set", "temperature=0.3"]) == 0
    assert all(line.startswith("the cat") for line in capsys.readouterr().out.splitlines()[2:])


@pytest.mark.slow
def test_scores_and_curves(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", run, "-n", "50", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {"nll_held_out", "bleu_2", "bleu_5", "self_bleu_2", "unique", "copied"} <= set(scores)
    assert [path.suffix for path in sorted(Path(run, "samples").iterdir())] == [".png", ".txt"]


@pytest.mark.slow
def test_what_a_run_s_settings_can_t_be_changed_to(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", run, "--set", "hidden=16"]) == 2
    assert "temperature" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one line\n", "needs at least 2 different"),
        (b"", "empty file"),
        (b"a\0b\nc\nd\ne\n", "NUL"),
        ("é\nè\nà\nü\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_files_that_can_t_be_learned_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    file = tmp_path / "bad file.txt"
    file.write_bytes(content)
    out = tmp_path / "run"
    assert main(["run", "--plugin", "seqgan", "--data", str(file), "--out", str(out), *SMALL]) == 4
    assert message in capsys.readouterr().err
    assert not out.exists()
