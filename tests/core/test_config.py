"""Settings: precedence, conversion, and what is said of a wrong one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field
from toys import ToyConfig

from mmgan.config import Config, check, describe, parse_assignments, resolve, to_toml
from mmgan.errors import ConfigError


class Typed(Config):
    betas: tuple[float, float] = Field((0.5, 0.999), description="decay rates")
    weights: str | None = Field(None, description="a file")
    size: Literal[32, 64] = Field(32, description="pixels")


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "some settings.toml"
    file.write_text("lr = 0.1\nbatch_size = 16\nsteps = 7\n", encoding="utf-8")
    environment = {"MMGAN_BATCH_SIZE": "32", "MMGAN_STEPS": "8", "MMGAN_DEBUG": "1", "PATH": "/bin"}
    config = resolve(ToyConfig, "toy", file=file, flags={"steps": "9"}, environment=environment)
    assert (config.ema, config.lr, config.batch_size, config.steps) == (0.9, 0.1, 32, 9)
    assert config.plugin == "toy"


def test_text_becomes_the_field_s_type() -> None:
    flags = {
        "betas": "[0, 0.9]",
        "compile": "true",
        "seed": "12",
        "size": "64",
        "weights": "7",
        "data": "[1]",
    }
    config = resolve(Typed, "t", flags=flags, environment={})
    assert (config.betas, config.compile, config.seed, config.size) == ((0.0, 0.9), True, 12, 64)
    assert (config.weights, config.data) == ("7", "[1]"), "text stays text"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"batchsize": "3"}, "toy has no setting 'batchsize'. Did you mean 'batch_size'?"),
        ({"steps": "many"}, "steps = 'many': Input should be a valid integer"),
        ({"steps": "0"}, "steps = 0: Input should be greater than or equal to 1"),
        ({"lr": "nan"}, "lr = nan: Input should be a finite number"),
        ({"seed": "-1"}, "seed = -1: Input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(flags: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(ToyConfig, "toy", flags=flags, environment={})
    assert message in caught.value.message
    assert "mmgan config toy" in caught.value.hint
    assert caught.value.exit_code == 2


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"steps = 'x'.*; seed = 'y'"):
        resolve(ToyConfig, "toy", flags={"steps": "x", "seed": "y"}, environment={})


def test_an_unknown_environment_variable_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="MMGAN_BATCHSIZE is no setting .* Did you mean 'batch_size'"):
        resolve(ToyConfig, "toy", environment={"MMGAN_BATCHSIZE": "3"})


def test_a_file_that_is_missing_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Can't read the config file .*No such file"):
        resolve(ToyConfig, "toy", file=tmp_path / "none.toml", environment={})
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"lr = = 3")
    with pytest.raises(ConfigError, match="is not TOML"):
        resolve(ToyConfig, "toy", file=bad, environment={})
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not TOML"):
        resolve(ToyConfig, "toy", file=bad, environment={})


def test_a_resolved_config_survives_its_file() -> None:
    config = check(Typed, {"plugin": "t", "data": 'a "folder" with \\ and ü', "betas": (0.1, 0.2)})
    assert check(Typed, tomllib.loads(to_toml(config))) == config


def test_the_described_defaults_are_the_defaults() -> None:
    text = describe(Typed, "t")
    assert tomllib.loads(text) == {"plugin": "t"}, "as it is, the file changes nothing"
    assert "# decay rates\n# betas = [0.5, 0.999]\n" in text
    assert "# weights =\n" in text
    assert "# pixels (one of: 32, 64)\n# size = 32\n" in text
    uncommented = "\n".join(
        line[2:] if line.startswith("# ") and " = " in line else "" for line in text.splitlines()
    )
    assert check(Typed, tomllib.loads(uncommented) | {"plugin": "t"}) == check(Typed, {"plugin": "t"})


def test_every_setting_has_help() -> None:
    assert all(field.description for field in Config.model_fields.values())


def test_assignments() -> None:
    assert parse_assignments(["loss=hinge", "batch-size = 3", "data=a=b"]) == {
        "loss": "hinge", "batch_size": "3", "data": "a=b",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="--set takes key=value, not 'loss'"):
        parse_assignments(["loss"])
