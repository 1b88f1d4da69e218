"""The conformance kit: each rule fails where a task breaks it, and only there; and how that is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from toys import Dots, Games, Toy, ToyConfig, ToyCycle, ToyStages, ToyWGAN, mlp

import mmgan
from mmgan import (
    ConfigError,
    Dataset,
    Draw,
    Phase,
    Player,
    PluginError,
    PointSamples,
    Run,
    Samples,
    Stage,
    Task,
    UsageError,
)
from mmgan.cli import main
from mmgan.testing import RULES, ConformanceError, check_task, report
from mmgan.testing.compare import differences

NAMES = [rule.name for rule in RULES]


def broken(task: Any, **settings: Any) -> dict[str, str]:
    """Return what each rule that a task breaks says."""
    try:
        check_task(task, **settings)
    except ConformanceError as error:
        found: dict[str, str] = {}
        for failure in error.failures:
            found[failure.rule] = f"{found.get(failure.rule, '')} {failure.what}".strip()
        return found
    return {}


class Stages(ToyStages):
    """Without the plain toy's scores, which are not of its networks; so is the next."""

    best_score = ""
    evaluate = Task.evaluate


class Cycle(ToyCycle):
    best_score = ""
    evaluate = Task.evaluate


@pytest.mark.slow
@pytest.mark.parametrize("task", [Toy, ToyWGAN, Stages, Cycle])
def test_the_toys_conform(task: Any) -> None:
    check_task(task)


# A task for each way to break a rule.


class Failing(ToyStages):
    """Can't be played in its last stage."""

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        if phase == "policy":
            raise ValueError("no policy")
        return super().loss(phase, batch, shared)


class NotANumber(Toy):
    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        factor = torch.tensor(float("nan") if phase == "G" else 1.0)
        return {name: factor * value for name, value in super().loss(phase, batch, shared).items()}


class Detached(Toy):
    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in super().loss(phase, batch, shared).items()}


class Vector(Toy):
    def loss(self, phase: str, batch: Tensor, shared: Any) -> Any:
        return {"seconds": super().loss(phase, batch, shared)[f"{phase}/adv"].expand(2)}


class Nameless(Toy):
    def loss(self, phase: str, batch: Tensor, shared: Any) -> Any:
        return super().loss(phase, batch, shared)[f"{phase}/adv"]


class LeftOut(Toy):
    """A layer that nothing passes through."""

    def build(self) -> dict[str, Player]:
        players = super().build()
        self.g.post = nn.Linear(2, 2)
        players["G"].optimizer.add_param_group({"params": list(self.g.post.parameters())})
        return players

    def forward(self, batch: Tensor) -> Tensor:
        return self.g[:4](self.latents(len(batch)))

    def sample(self, n: int) -> PointSamples:
        generator = self.run.players["G"].sampler
        assert isinstance(generator, nn.Sequential)
        return PointSamples(generator[:4](self.latents(n)))

    def evaluate(self, n: int) -> dict[str, float]:
        return {"distance": 1.0}


class Forgotten(Toy):
    """A layer that is there after the optimizer."""

    def build(self) -> dict[str, Player]:
        players = super().build()
        self.d.append(nn.Linear(1, 1))
        return players


class Root(Toy):
    """A finite loss with an infinite gradient."""

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        losses = super().loss(phase, batch, shared)
        return losses | {f"{phase}/root": (0 * losses[f"{phase}/adv"]).sqrt()}


class Meddling(Toy):
    """G's phase moves D too."""

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        if phase == "G":
            with torch.no_grad():
                self.d[0].weight.mul_(0.99)
        return super().loss(phase, batch, shared)


class EarlyMeddling(Toy):
    def forward(self, batch: Tensor) -> Any:
        with torch.no_grad():
            self.d[0].weight.mul_(0.99)
        return super().forward(batch)


class Backward(Toy):
    """Calls `backward` itself."""

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        losses = super().loss(phase, batch, shared)
        losses[f"{phase}/adv"].backward(retain_graph=True)
        return losses


class Clipping(Toy):
    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        if phase == "D":
            with torch.no_grad():
                for weight in self.d.parameters():
                    weight.clamp_(-0.01, 0.01)
        return super().loss(phase, batch, shared)


class LeftInEval(Toy):
    """Switches D's mode and leaves it so."""

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        self.d.eval()
        return super().loss(phase, batch, shared)


class Stubborn(Toy):
    """Is for float32 only."""

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        assert shared.dtype == torch.float32
        return super().loss(phase, batch, shared)


class Forgetful(Toy):
    """Counts, and keeps the count to itself."""

    def build(self) -> dict[str, Player]:
        self.count = 0
        return super().build()

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        self.count += 1
        return {name: value * self.count for name, value in super().loss(phase, batch, shared).items()}


class HiddenNetwork(Toy):
    """Samples from a copy that is in no checkpoint, and changes no weights."""

    def build(self) -> dict[str, Player]:
        players = super().build()
        self.copy = torch.zeros(2)
        return players

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        self.copy = self.copy + batch.mean(0)
        return super().loss(phase, batch, shared)

    def sample(self, n: int) -> PointSamples:
        return PointSamples(super().sample(n).points + self.copy)


class Generous(Toy):
    def sample(self, n: int) -> PointSamples:
        return super().sample(64)


class Drifting(Toy):
    """Draws latents from a generator of its own."""

    def sample(self, n: int) -> PointSamples:
        self.calls = getattr(self, "calls", 0) + 1
        return PointSamples(super().sample(n).points + self.calls)


class Bare(Toy):
    def sample(self, n: int) -> Any:
        return self.run.players["G"].sampler(self.latents(n))


class NumberSamples(Samples):
    """Holds what was given, and saves nothing."""

    suffix = ".txt"

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def save(self, path: Path) -> None:
        path.touch()

    def save_each(self, folder: Path) -> list[Path]:
        return [folder / "numbers.txt"]

    def to_tensorboard(self, writer: Any, tag: str, step: int) -> None:
        writer.add_text(tag, "numbers", step)


class Endless(Toy):
    def sample(self, n: int) -> Any:
        with torch.enable_grad():
            return NumberSamples(self.g(self.latents(n)) / 0)


class Walking(Toy):
    def interpolate(self, n: int) -> Any:
        return NumberSamples(torch.zeros(n - 1, 2))


class Pausing(NumberSamples):
    def save_walk(self, folder: Path) -> list[Path]:
        return []


class Standing(Toy):
    def interpolate(self, n: int) -> Any:
        return Pausing(torch.zeros(n, 2))


class Completing(Toy):
    def complete(self, n: int, prompt: str) -> Any:
        return mmgan.TextSamples(["other"] * n)


class Scoring(Toy):
    def evaluate(self, n: int) -> Any:
        return {"far": float("inf"), "near": 1.0}


class Unscored(ToyStages):
    best_score = "distance"
    evaluate = Task.evaluate


class Training(Toy):
    """Samples in training mode, and so moves its statistics."""

    def sample(self, n: int) -> PointSamples:
        self.g.train()
        return PointSamples(self.g(self.latents(n)))


class Scolding(Toy):
    """Leaves its average in training mode."""

    def evaluate(self, n: int) -> dict[str, float]:
        self.run.players["G"].sampler.train()
        return {"distance": 1.0}


class Undescribed(Toy):
    class Config(ToyConfig):
        margin: float = 1.0


class Unwritable(Toy):
    class Config(ToyConfig):
        margin: float | None = Field(1.0, description="None switches it off")


class OpenFile(Dots):
    def __init__(self) -> None:
        self.file = open(__file__)  # noqa: SIM115

    def __del__(self) -> None:
        self.file.close()


class Reading(Toy):
    def data(self) -> Dataset:
        return OpenFile()


class Noisy(Dots):
    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        return super().batch(indices, draw) + torch.rand(())


class Shaken(Toy):
    def data(self) -> Dataset:
        return Noisy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "rule", "what"),
    [
        (Failing, "plays", "ValueError: no policy (test_testing.py, line "),
        (NotANumber, "losses", "Phase 'G' of stage 'train': 'G/adv' is nan."),
        (Detached, "losses", "Phase 'D' of stage 'train': 'D/adv' has no graph: no gradient comes from it."),
        (Vector, "losses", "'seconds' has the shape (2,), and is not a scalar."),
        (Vector, "losses", "a term is called 'seconds', which is not a valid name of a loss."),
        (Nameless, "losses", "the loss is a Tensor, not a dict of named terms."),
        (LeftOut, "gradients", "No phase gives a gradient to G.post.weight, G.post.bias."),
        (Forgotten, "gradients", "Their player's optimizer does not have D.3.weight, D.3.bias."),
        (Root, "gradients", "Phase 'D' of stage 'train': NaN or infinity in that of D.0.weight"),
        (Meddling, "own-weights", "Phase 'G' of stage 'train' changed D.0.weight."),
        (EarlyMeddling, "own-weights", "`forward` changed D.0.weight."),
        (Backward, "hands-off", "Phase 'D' of stage 'train': its loss changed the gradient of D.0.weight, "),
        (Clipping, "hands-off", "Phase 'D' of stage 'train': its loss changed the value of D.0.weight, "),
        (LeftInEval, "hands-off", "Phase 'D' of stage 'train': its loss changed the mode of D, mode of D.0"),
        (Stubborn, "bf16", "AssertionError"),
        (Forgetful, "resume", "Different after a resume in stage 'train': weights.G."),
        (
            HiddenNetwork,
            "resume",
            "The saved state is the same after a resume, but samples differ: points.",
        ),
        (Generous, "samples", "sample(3) gives 64 samples."),
        (Drifting, "samples", "sample(3) with the same seed gives other samples: points."),
        (Bare, "samples", "sample returns a Tensor, which is not an mmgan.Samples."),
        (Endless, "samples", "sample: NaN or infinity in numbers."),
        (
            Endless,
            "samples",
            "sample: numbers has a graph, which keeps everything that it was computed from in memory.",
        ),
        (Endless, "samples", "sample: save wrote no file, or an empty one."),
        (Endless, "samples", "sample: save_each names files that it did not write: numbers.txt."),
        (Walking, "interpolate", "interpolate(3) gives 2 samples."),
        (Walking, "interpolate", "NumberSamples has no save_walk."),
        (Standing, "interpolate", "interpolate: save_walk wrote no file."),
        (Scoring, "evaluate", "The score 'far' is inf, which is not a finite number."),
        (Scoring, "evaluate", "best_score is 'distance', and the scores are far, near."),
        (Unscored, "evaluate", "best_score is 'distance', but the task has no `evaluate`."),
        (
            Training,
            "undisturbed",
            "sample changed weights.G.1.running_mean, weights.G.1.running_var, weights.G.1.",
        ),
        (Scolding, "undisturbed", "evaluate changed mode of G.average, "),
        (Undescribed, "config", "Without a description: margin."),
        (Reading, "data", "The data set can't be pickled: TypeError"),
        (Shaken, "data", "Batch 3 differs between a worker process and the main one."),
    ],
)
def test_a_broken_rule_is_found_and_no_other(task: Any, rule: str, what: str) -> None:
    found = broken(task)
    assert list(found) == [rule]
    assert what in found[rule]


def test_settings_that_toml_can_not_hold() -> None:
    found = broken(Unwritable, margin=None)
    assert found == {"config": "The settings come back from TOML with a different margin."}


def test_a_completion_begins_with_the_prompt() -> None:
    assert broken(Completing, prompt="the") == {"complete": "Not all samples begin with the prompt 'the'."}
    (skipped,) = [result for result in own_report(Completing) if result.rule == "complete"]
    assert skipped.what == "because no prompt is known; check_task(…, prompt='…') gives one"


def own_report(task: Any) -> Any:
    plugins = mmgan.Plugins(Games(), installed=False)
    plugins.tasks["toy"].thing = task
    return report("toy", {}, plugins=plugins)


def test_parameters_that_rightly_get_no_gradient() -> None:
    check_task(LeftOut, unused=["G.post.*"])
    assert list(broken(LeftOut, unused=["G.post.weight"])) == ["gradients"]
    with pytest.raises(
        UsageError, match="'G.pots.weight' matches no parameter of LeftOut. Did you mean 'G.post"
    ):
        check_task(LeftOut, unused=["G.pots.weight"])


class Phases(Toy):
    """A penalty reaches no bias of D's last layer, and another phase of D does."""

    stages = (Stage("train", (Phase("D", "D"), Phase("R1", "D"), Phase("G", "G"))),)

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        if phase == "R1":
            gradient = self.run.grad(self.d, batch.detach().requires_grad_())[1]
            return {"D/r1": gradient.square().sum()}
        return super().loss(phase, batch, shared)


def test_one_phase_of_a_player_is_enough_for_a_gradient() -> None:
    check_task(Phases)


class OwnStep(Toy):
    def step(self, run: Run, stage: Stage, index: int) -> dict[str, Tensor]:
        fake = self.forward(run.next_batch())
        loss = (fake - 1).square().mean()
        player = run.players["G"]
        player.optimizer.zero_grad()
        loss.backward()
        player.optimizer.step()
        return {"G/mse": loss.detach()}


def test_a_task_that_plays_its_own_steps() -> None:
    results = {result.rule: result for result in own_report(OwnStep)}
    for name in ("losses", "own-weights", "hands-off"):
        assert results[name].what == "because the task plays its own steps"
    assert {result.outcome for result in results.values()} == {"skipped", "passed"}
    assert results["gradients"].outcome == results["resume"].outcome == "passed"


# How it is told.


def test_the_message_says_what_why_and_how_to_mend() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_task(Meddling)
    error = caught.value
    assert isinstance(error, AssertionError)
    assert isinstance(error, PluginError)
    (failure,) = error.failures
    assert failure.why
    assert failure.mend
    assert str(error).splitlines() == [
        f"Meddling breaks 1 of {len(RULES)} rules ({len(RULES) - 5} passed, 4 skipped).",
        "",
        "own-weights: Phase 'G' of stage 'train' changed D.0.weight.",
        f"  why:  {failure.why}",
        f"  mend: {failure.mend}",
    ]


class Everything(Undescribed):
    """Breaks several rules at once."""

    def data(self) -> Dataset:
        return Noisy()

    def sample(self, n: int) -> PointSamples:
        return super().sample(n + 1)


def test_all_failures_are_collected() -> None:
    assert list(broken(Everything)) == ["samples", "config", "data"]


def test_after_a_step_that_can_not_be_played_the_rest_is_skipped() -> None:
    results = own_report(Failing)
    assert [result.rule for result in results if result.outcome == "failed"] == ["plays"]
    (resume,) = [result for result in results if result.rule == "resume"]
    assert resume.what == "because its first steps could not be played"
    (plays,) = [result for result in own_report(NotANumber) if result.rule == "plays"]
    assert plays.what == "because a step ended early, for which see losses"


def test_what_can_not_be_checked_raises() -> None:
    with pytest.raises(PluginError, match="no plugin 'dcgn'. Did you mean 'dcgan'"):
        check_task("dcgn")
    with pytest.raises(ConfigError, match="Toy has no setting 'widht'"):
        check_task(Toy, widht=4)

    class Searching(Toy):
        def data(self) -> Any:
            return self.run.open_data("points")

    with pytest.raises(mmgan.DataError, match="data = 'nowhere'"):
        check_task(Searching, data="nowhere")


def test_the_process_s_randomness_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGAN_LR", "0.5")  # and so are settings of the environment
    torch.manual_seed(7)
    check_task(Toy)
    after = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(3))


def test_differences_are_named_by_their_places() -> None:
    one = {"a": [torch.zeros(2), {"b": float("nan")}], 3: "x", "same": torch.tensor(float("nan"))}
    other = {"a": [torch.tensor([0.0, -0.0]), {"c": 1}], 3: "y", "same": torch.tensor(float("nan"))}
    assert list(differences(one, other)) == ["a.0", "a.1.b", "a.1.c", "3"]
    assert list(differences([1, 2], [1])) == [""]
    assert list(differences(mlp(1, 1), mlp(1, 1))) != []


# Where it is asked for.


def test_the_fixture_is_the_function(mmgan_check: Callable[..., None]) -> None:
    assert mmgan_check is check_task


@pytest.mark.process
def test_pytest_imports_nothing_slow(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test_nothing():\n"
        "    assert 'mmgan.pytest_plugin' in sys.modules\n"
        "    assert not {'torch', 'pydantic', 'numpy', 'rich'} & sys.modules.keys()\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the toys look installed, here and in other processes, one of them broken."""
    source = (
        "from mmgan import hookimpl\n\n@hookimpl\ndef register_tasks(register):\n"
        "    register('toy', 'toys:Toy')\n    register('bare', 'barely:Bare')\n"
    )
    (tmp_path / "toyplugin.py").write_text(source)
    (tmp_path / "barely.py").write_text(
        "import os\nimport torch\nfrom toys import Toy\n\n\nclass Bare(Toy):\n"
        "    def forward(self, batch):\n        print('talk')\n"
        "        with torch.no_grad():\n            self.d[0].weight.add_(float(os.environ.get('RANK', 0)))\n"
        "        return super().forward(batch)\n"
    )
    info = tmp_path / "toyplugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toyplugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmgan]\ntoy = toyplugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("_installed")
def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", "toy", "--set", "ema=0", "--ranks", "1"]) == 0
    out, err = capsys.readouterr()
    header, *rows = out.splitlines()
    assert header.split() == ["RULE", "OUTCOME", "WHAT"]
    assert [row.split()[0] for row in rows] == NAMES
    assert rows[NAMES.index("losses")].split() == ["losses", "passed"]
    assert "skipped  because the task has no `complete`" in rows[NAMES.index("complete")]
    assert err.startswith(f"1/{len(NAMES)} plays\n")


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    "words",
    [
        ["plugins", "check", "bare", "--json", "--ranks", "1"],
        ["plugins", "--json", "check", "bare", "--ranks", "1"],
    ],
)
def test_the_command_as_json(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main([*words, "--set", "ranks=2"]) == 2
    capsys.readouterr()
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["plugin"], document["passed"]) == (1, "bare", True)
    assert [rule["rule"] for rule in document["rules"]] == NAMES
    assert all(rule["why"] and rule["mend"] for rule in document["rules"])


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("_installed")
def test_ranks_agree() -> None:
    (ranks,) = [result for result in report("toy", {}, ranks=2) if result.rule == "ranks"]
    assert (ranks.outcome, ranks.what) == ("passed", "")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("_installed")
def test_ranks_that_disagree_end_the_command_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", "bare", "--ranks", "2"]) == 3
    out, err = capsys.readouterr()
    assert (
        "ranks        failed   After the first steps of stage 'train' the 2 processes have different weights"
        in out
    )
    assert "  why:  Processes that train one run" in err
    assert "  mend: " in err


@pytest.mark.process
@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("print('talk', rank); print('weights: {\"stage\": 1, \"weights\": {}}')", ""),
        ("print('talk'); sys.exit(rank and f'no {rank}')", "Process 1 ended with exit code 1: no 1"),
    ],
)
def test_what_ranks_say(monkeypatch: pytest.MonkeyPatch, code: str, what: str) -> None:
    real = subprocess.Popen

    def start(command: list[str], **options: Any) -> Any:
        script = f"import os, sys; rank = int(os.environ['RANK']); {code}"
        return real([sys.executable, "-c", script], **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    results = {result.rule: result for result in report("toy", {}, ranks=2)}
    assert results["ranks"].what == what
    assert results["ranks"].outcome == ("failed" if what else "passed")


def test_ranks_of_a_task_that_is_not_installed() -> None:
    plugins = mmgan.Plugins(Games())
    (ranks,) = [result for result in report("toy", {}, plugins=plugins, ranks=2) if result.rule == "ranks"]
    assert ranks.what == "because other processes find installed tasks only"


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["no"], 3, "There is no plugin 'no'."),
        (["toy", "--set", "widht=4"], 2, "toy has no setting 'widht'"),
        (["toy", "--unused", "G.head.*"], 2, "unused = 'G.head.*' matches no parameter of toy."),
    ],
)
def test_the_command_s_errors(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert main(["plugins", "check", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_an_error_in_a_task_is_told_by_its_own_place() -> None:
    class Unbuilt(Toy):
        def build(self) -> Any:
            raise ZeroDivisionError("by zero")

    with pytest.raises(
        ConformanceError, match=r"plays: ZeroDivisionError: by zero \(test_testing.py, line \d+\)"
    ):
        check_task(Unbuilt)
