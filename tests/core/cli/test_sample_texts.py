"""``mmgan sample`` where the samples are texts: on stdout, begun by a prompt, with settings of sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

PARROT = """
import torch
from pydantic import Field
from torch import nn

from mmgan import Config, Dataset, Player, Task, TextSamples, hookimpl
from mmgan.samples import Tradeoff


class ParrotConfig(Config):
    temperature: float = Field(1.0, gt=0, description="of sampling")
    top_k: int = Field(0, ge=0, description="words to choose among")
    mood: str = Field("calm", description="what it says")
    picture: bool = Field(False, description="draw quality against diversity")
    tensorboard: bool = False


class Zeros(Dataset):
    description = "zeros"

    def __len__(self):
        return 8

    def batch(self, indices, draw):
        return torch.zeros(len(indices), 1)


class Parrot(Task):
    Config = ParrotConfig
    sample_settings = frozenset({"temperature", "top_k", "mood"})

    def build(self):
        self.g, self.d = nn.Linear(1, 1), nn.Linear(1, 1)
        return {
            name: Player(net, torch.optim.SGD(net.parameters(), 0.1))
            for name, net in (("G", self.g), ("D", self.d))
        }

    def data(self):
        return Zeros()

    def loss(self, phase, batch, shared):
        return {phase: (self.g if phase == "G" else self.d)(batch).square().mean()}

    def sample(self, n):
        return self.complete(n, "polly")

    def complete(self, n, prompt):
        c = self.config
        words = torch.randint(1000, (n,)).tolist()
        tradeoff = Tradeoff("x", "y", {"parrot": [(1.0, 0.5, 0.5)]}) if c.picture else None
        return TextSamples([f"{prompt} {c.mood}\\n{c.temperature} {c.top_k} {w}" for w in words], tradeoff)


@hookimpl
def register_tasks(register):
    register("parrot", "parrotplugin:Parrot")
"""


@pytest.fixture
def parrot(install: Any, cli: Any) -> Path:
    """A run of a task of texts, of two steps."""
    install("parrotplugin", PARROT)
    assert cli("run", "--plugin", "parrot", "--steps", "2", "--out", "parrot").code == 0
    return Path("parrot")


def test_texts_are_printed_and_nothing_is_written(cli: Any, parrot: Path) -> None:
    before = sorted(parrot.rglob("*"))
    result = cli("sample", parrot, "-n", "3")
    assert result.code == 0
    lines = result.out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("polly calm 1.0 0 ") for line in lines)
    assert result.err == "3 samples of parrot at step 2\n"
    assert sorted(parrot.rglob("*")) == before
    assert cli("sample", parrot, "-n", "3").out == result.out
    assert cli("sample", parrot, "-n", "3", "--seed", "1").out != result.out


def test_out_takes_one_file(cli: Any, parrot: Path) -> None:
    result = cli("sample", parrot, "-n", "3", "--out", "new")
    assert (result.code, result.out) == (0, "new/samples.txt\n")
    assert result.err == "3 samples of parrot at step 2, in new\n"
    assert [path.name for path in Path("new").iterdir()] == ["samples.txt"]
    assert Path("new/samples.txt").read_text() == cli("sample", parrot, "-n", "3").out


def test_out_takes_the_picture_where_there_is_one(cli: Any, parrot: Path) -> None:
    toml = parrot / "config.toml"
    toml.write_text(toml.read_text().replace("picture = false", "picture = true"))
    result = cli("sample", parrot, "-n", "3", "--out", "new")
    assert result.out == "new/samples.txt\nnew/samples.png\n"
    with Image.open("new/samples.png") as picture:
        assert picture.format == "PNG"
    assert len(cli("sample", parrot, "-n", "3").out.splitlines()) == 3


def test_a_prompt_begins_each_text(cli: Any, parrot: Path) -> None:
    lines = cli("sample", parrot, "-n", "2", "--prompt", "the ship").out.splitlines()
    assert [line[:14] for line in lines] == ["the ship calm "] * 2
    # An empty one is none.
    assert cli("sample", parrot, "-n", "2", "--prompt", "").out.startswith("polly calm ")


def test_a_walk_takes_no_prompt(cli: Any, parrot: Path) -> None:
    result = cli("sample", parrot, "--prompt", "the", "--interpolate")
    assert (result.code, result.out) == (2, "")
    assert "A walk takes no prompt" in result.err
    assert "no walk through its latent space" in cli("sample", parrot, "--interpolate").err


@pytest.mark.usefixtures("trained")
def test_a_task_of_pictures_takes_no_prompt(cli: Any) -> None:
    result = cli("sample", "trained", "--prompt", "the")
    assert (result.code, result.out) == (2, "")
    assert "error: fake takes no prompts." in result.err
    assert not Path("trained/generated").exists()


def test_settings_that_only_sampling_reads(cli: Any, parrot: Path) -> None:
    written = (parrot / "config.toml").read_bytes()
    result = cli(
        "sample", parrot, "-n", "1", "--set", "temperature=0.5", "--set", "top-k=7", "--set", "mood=1"
    )
    assert result.out.startswith("polly 1 0.5 7 ")
    assert (parrot / "config.toml").read_bytes() == written
    assert cli("sample", parrot, "-n", "1").out.startswith("polly calm 1.0 0 ")


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("temprature=2", "no setting 'temprature' that only sampling reads. Did you mean 'temperature'?"),
        ("batch_size=2", "parrot has no setting 'batch_size' that only sampling reads.\n"),
        ("batch_size=2", "hint: Allowed: mood, temperature, top_k."),
        ("temperature=0", "temperature = 0: Input should be greater than 0"),
        ("temperature=warm", "temperature = 'warm': Input should be a valid number"),
        ("temperature", "--set takes key=value, not 'temperature'"),
    ],
)
def test_other_settings_are_refused(cli: Any, parrot: Path, assignment: str, complaint: str) -> None:
    result = cli("sample", parrot, "--set", assignment)
    assert (result.code, result.out) == (2, "")
    assert complaint in result.err


@pytest.mark.usefixtures("trained")
def test_a_task_without_settings_of_sampling(cli: Any) -> None:
    result = cli("sample", "trained", "--set", "lr=1")
    assert (result.code, result.out) == (2, "")
    assert "fake has no setting 'lr' that only sampling reads" in result.err
    assert "Allowed: none; this task has no such settings." in result.err
    assert cli("sample", "absent", "--set", "lr=1").code == 5
