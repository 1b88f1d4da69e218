"""The attacks on runs (``kills.py``, ``mutations.py``, ``signals.py``): what is whole, wrong, a failure."""

from __future__ import annotations

import json
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmgan.storage import checkpoint

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import attack_tools as tools
import kills
import mutating
import mutations
import signals
from mutations import Outcome, Trial


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder as a run has it, with two checkpoints."""
    folder = tmp_path / "run"
    folder.mkdir()
    for step in (2, 4):
        state = {"step": step, "list": [1, 2.5, None], "moments": torch.ones(3)}
        checkpoint.save(folder / "checkpoints", step, {"G": {"w": torch.ones(2, 2)}}, state)
    (folder / "config.toml").write_text('plugin = "gan"\nsteps = 4\n')
    (folder / "metrics.jsonl").write_text('{"step": 1, "D/adv": 0.5}\n{"step": 2, "D/adv": 0.4}\n')
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "folder").mkdir(parents=True)
    (folder / "file").write_text("x")
    return folder


def newest(run: Path) -> Path:
    return run / "checkpoints" / "step-000004"


def test_what_is_whole(run: Path) -> None:
    assert tools.newest_whole(run) == 4
    assert list(tools.checkpoints(run)) == [2, 4]
    (newest(run) / "state.json").write_text("{}")
    assert tools.newest_whole(run) == 2
    (newest(run) / "manifest.json").unlink()
    assert not tools.is_whole(newest(run))
    (run / "checkpoints" / ".partial-1").mkdir()
    assert tools.leftovers(run) == ["checkpoints/.partial-1"]


def test_a_checkpoint_without_all_of_its_files_is_not_whole(run: Path) -> None:
    path = newest(run) / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["files"]["G.safetensors"]
    path.write_text(json.dumps(manifest))
    assert not tools.is_whole(newest(run))


def test_every_mutation_changes_what_it_says_and_nothing_outside(
    run: Path, outside: Path, tmp_path: Path
) -> None:
    sound = tmp_path / "sound"
    shutil.move(run, sound)
    thesis = tools.digest(outside / "file")
    said: set[str] = set()
    same: list[str] = []
    files = sorted(str(path.relative_to(sound)) for path in sound.rglob("*") if path.is_file())
    for number in range(300):
        shutil.copytree(sound, run)
        rng = random.Random(number)
        file = rng.choice(files)
        what = mutating.structure(run / file, outside, rng)
        assert what, file
        path = run / file
        if path.is_file() and not path.is_symlink():
            same += [what] if path.read_bytes() == (sound / file).read_bytes() else []
        assert tools.digest(outside / "file") == thesis
        said.add(what)
        shutil.rmtree(run)
    assert len(said) > 150
    assert len(same) < 15, same  # A flat tensor that is made flat is as it was.


def test_a_trial_is_a_function_of_its_number(run: Path, tmp_path: Path) -> None:
    path = newest(run) / "G.safetensors"
    sound, results = path.read_bytes(), []
    for number in (1, 1, 2):
        path.write_bytes(sound)
        results.append((mutating.flip(path, random.Random(number)), path.read_bytes()))
    assert results[0] == results[1] != results[2]
    changed = int.from_bytes(sound) ^ int.from_bytes(results[0][1])
    assert changed.bit_count() == 1


def test_entries_keep_to_the_folder(run: Path, outside: Path, tmp_path: Path) -> None:
    (run / "samples").mkdir()
    shutil.copytree(run, tmp_path / "sound")
    said = set()
    for number in range(40):
        said.add(mutating.entries(run, outside, random.Random(number)).split()[-1])
        shutil.rmtree(run)
        shutil.rmtree(outside / "folder")
        (outside / "folder").mkdir()
        shutil.copytree(tmp_path / "sound", run)
    assert len(said) > 5


def test_what_is_signed_anew_is_whole_and_may_yet_be_wrong(run: Path) -> None:
    step = newest(run)
    assert mutating.must_not_be_used(step) == ""
    tensors = load_file(step / "state.safetensors")
    name = next(iter(tensors))
    tensors[name][1] = torch.nan
    save_file(tensors, step / "state.safetensors")
    assert not tools.is_whole(step)
    mutating.sign(step)
    assert tools.is_whole(step)
    assert "state.safetensors is not finite" in mutating.must_not_be_used(step)
    step = step.rename(step.with_name("step-000006"))
    assert "says step 4, and the folder step-000006" in mutating.must_not_be_used(step)


def test_verdicts() -> None:
    newest, older = Outcome(0, "", "new"), Outcome(0, "", "old")
    flip = Trial("flip", 1, "gan", "sample", "checkpoints/step-000004/G.safetensors", "bit", False, "")

    def verdict(outcome: Outcome, trial: Trial = flip, outside: bool = True) -> tuple[str, str]:
        return mutations.judge(trial, outcome, newest, older, outside)

    assert verdict(newest) == ("ok", "the same")
    assert verdict(Outcome(5, "error: torn", "")) == ("ok", "exit code 5")
    assert verdict(replace(older, text="warning: … It is passed over."))[0] == "ok"
    assert verdict(older)[0] == "failure"  # Not a word that an older one was taken.
    assert verdict(Outcome(0, "", "other")) == ("failure", "something else was loaded")
    assert verdict(Outcome(70, "", "")) == ("failure", "exit code 70")
    assert verdict(Outcome(None, "", "")) == ("failure", "it hung")
    assert verdict(Outcome(1, "Traceback (most recent", "")) == ("failure", "a traceback")
    assert verdict(newest, outside=False) == ("failure", "a file outside was changed")
    assert verdict(replace(newest, memory=3 * 2**30))[0] == "failure"
    other = Outcome(0, "", "other")
    assert verdict(other, replace(flip, signed=True))[0] == "accepted"
    assert verdict(other, replace(flip, signed=True, wrong="NaN"))[0] == "failure"
    assert verdict(other, replace(flip, file="config.toml"))[0] == "accepted"


def test_kills_are_drawn_for_all_chains_and_what_metrics_lack_is_told(tmp_path: Path) -> None:
    tally = kills.Tally()
    drawn = set()
    for number in range(6):
        chain = kills.Chain(tmp_path / str(number), tmp_path, number, 0, tally, print)
        drawn |= {chain.aim(False)[0] for _ in range(60)}
        words = " ".join(chain.begin(9))
        assert f"--seed {number}" in words
        assert f"--plugin {chain.game} " in words
    assert drawn == {*kills.AIMS, "any moment"}
    assert kills.gaps([1, 2, 4, 4]) == "2 then 4, 4 then 4"
    assert kills.gaps([]) == "0 steps, the last is none"


def test_a_kill_that_tears_something_is_found(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = kills.Tally()
    chain = kills.Chain(tmp_path / "chain", tmp_path, 0, 0, tally, print)
    chain.folder = run
    nowhere = ("any moment", 0.0)
    assert chain.inspect(nowhere) == 4
    assert [line["step"] for line in chain.metrics(nowhere)] == [1, 2]
    assert not tally.failures
    (newest(run) / "G.safetensors").write_bytes(b"")
    assert chain.inspect(nowhere) == 2
    with (run / "metrics.jsonl").open("a") as file:
        file.write(
            '{"step": 3, "D'
        )  # Torn at the end, as a kill may leave it; torn in the middle it may not.
    chain.metrics(nowhere)
    assert len(tally.failures) == 1
    with (run / "metrics.jsonl").open("a") as file:
        file.write('\n{"step": 4}\n')
    chain.metrics(nowhere)
    assert len(tally.failures) == 2
    assert "line 3 of metrics.jsonl is torn" in capsys.readouterr().out


def test_signals_come_to_every_phase_and_what_they_should_have_left_is_known(tmp_path: Path) -> None:
    trials = list(signals.trials(len(signals.PHASES), None))
    assert {(trial.name, trial.phase) for trial in trials} == {
        (name, phase) for name in signals.SIGNALS for phase in signals.PHASES
    }
    assert [trial.number for trial in trials] == list(range(len(trials)))
    attack = signals.Attack(tmp_path, 0)
    term = signals.Trial(0, "TERM", "step")
    for code, text, began, failed in (
        (143, "", True, 0), (-15, "", False, 0), (1, "", True, 1), (143, "internal bug", True, 1),
        (-15, "Traceback … runpy.py", False, 0), (-15, "Traceback … core/mmgan/run.py", False, 1),
    ):  # fmt: skip
        attack.failed = 0
        attack.check(term, "here", code, text, began)
        assert attack.failed == failed, (code, text)


def test_a_disk_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "file_system", lambda path: "tmpfs")
    with pytest.raises(SystemExit, match="is on tmpfs, which is memory"):
        signals.main(["--work", str(tmp_path)])


# The whole of each, as short as can be.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "arguments", "expected"),
    [
        (kills, ["--kills", "1", "--chain", "1"], "1 kills on "),
        (mutations, ["--flips", "2", "--mutations", "2", "--games", "gan"], "4 trials with seed 0"),
        (signals, ["--each", "1", "--only", "TERM:step"], "1 signals of a kind with seed 0: 0 failures"),
    ],
)
def test_a_real_trial(
    attack: Any, arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert attack.main([*arguments, "--work", str(tmp_path)]) == 0
    assert expected in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
