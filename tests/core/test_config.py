"""Settings: precedence, conversion, and what is said of a wrong one."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field
from toys import ToyConfig

from mmgan.config import Config, check, describe, parse_assignments, read_file, resolve, to_toml
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
        ({"lr": "1e400"}, "lr = inf: Input should be a finite number"),
        ({"lr": "1e300"}, "lr = 1e+300: Input should be at most 3.4e+38"),
        ({"Steps": "3"}, "toy has no setting 'Steps'. Did you mean 'steps'?"),
        ({"steps": "9" * 5000}, "Unable to parse input string as an integer, exceeded maximum size"),
        ({"steps": "0x" + "f" * 5000}, "Input should be at most 9,007,199,254,740,992"),
        ({"lr": "9" * 5000}, "Input should be a finite number"),
        ({"lr": "[" * 10_000}, "Input should be a valid number"),
        ({"lr": "1\nseed = 2"}, "Input should be a valid number"),
        ({"data": "a\0b"}, r"data = 'a\x00b': Input holds a NUL character"),
        ({"batch_size": 2**40}, "batch_size = 1099511627776: Input should be at most 1,048,576"),
        ({"workers": 257}, "workers = 257: Input should be at most 256"),
        ({"log_every": 2**53 + 1}, "log_every = 9007199254740993: Input should be at most"),
        ({"x" * 5000: 1}, "toy has no setting 'xxx"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(flags: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(ToyConfig, "toy", flags=flags, environment={})
    assert message in caught.value.message
    assert len(caught.value.message) < 300
    assert "mmgan config toy" in caught.value.hint
    assert caught.value.exit_code == 2


class Inner(BaseModel):
    depth: int = Field(2, ge=1, description="layers")
    name: str = Field("a", description="what it is called")


class Lists(Config):
    names: list[str] = Field([], description="names")
    sizes: list[int] = Field([1], description="pixels")
    pair: tuple[float, float] = Field((0.0, 1.0), description="two numbers")
    maybe: list[str] | None = Field(None, description="names or nothing")
    weights: dict[str, float] = Field({}, description="a table")
    inner: Inner = Field(Inner(), description="more")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"names": "a,b"}, ["a", "b"]),
        ({"names": " a , b c"}, ["a", "b c"]),
        ({"names": '["a", "b,c"]'}, ["a", "b,c"]),
        ({"names": "7"}, ["7"]),
        ({"names": ""}, []),
        ({"maybe": "true,1"}, ["true", "1"]),
        ({"sizes": "32,64"}, [32, 64]),
        ({"sizes": "[32, 64]"}, [32, 64]),
        ({"sizes": "5"}, [5]),
        ({"pair": "0.5,1"}, (0.5, 1.0)),
        ({"weights": "{a = 1}"}, {"a": 1.0}),
        ({"inner": "{depth = 3}"}, Inner(depth=3)),
        ({"inner": {"depth": "3", "name": "3"}}, Inner(depth=3, name="3")),
    ],
)
def test_lists_and_tables_as_text(flags: dict[str, Any], expected: object) -> None:
    config = resolve(Lists, "t", flags=flags, environment={})
    assert getattr(config, next(iter(flags))) == expected
    assert check(Lists, tomllib.loads(to_toml(config))) == config


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"sizes": "1,x"}, "sizes.1 = 'x': Input should be a valid integer"),
        ({"sizes": "[1, x]"}, "sizes = '[1, x]': Input should be a valid list"),
        ({"names": ["a\0"]}, "Input holds a text that a file could not give back"),
        ({"names": ["\udcf6"]}, "Input holds a text that a file could not give back"),
        ({"sizes": [2**60]}, "Input should be at most 9,007,199,254,740,992"),
        ({"weights": {"a": float("nan")}}, "Input should be "),
        ({"inner": {"dept": "3"}}, "t has no setting 'inner.dept'. Did you mean 'inner.depth'?"),
        ({"inner": {"depth": "0"}}, "inner.depth = 0: Input should be greater than or equal to 1"),
        ({"inner": "3"}, "inner = 3: It is a table of settings: inner.KEY = VALUE"),
        ({"inner.depth": "3"}, "t has no setting 'inner.depth'"),
        ({"seed": {"x": "3"}}, "seed = {'x': '3'}: Input should be a valid integer"),
    ],
)
def test_what_is_wrong_in_lists_and_tables(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Lists, "t", flags=flags, environment={})
    assert message in caught.value.message


def test_tables_are_merged_key_by_key(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text('[inner]\ndepth = 3\nname = "file"\n')
    environment = {"MMGAN_INNER__NAME": "environment", "MMGAN_NAMES": "x,y"}
    config = resolve(Lists, "t", file=file, flags={"inner": {"depth": "5"}}, environment=environment)
    assert (config.inner, config.names) == (Inner(depth=5, name="environment"), ["x", "y"])
    with pytest.warns(UserWarning, match="MMGAN_INNER__DEPT is not .* Did you mean 'inner__depth'"):
        resolve(Lists, "t", environment={"MMGAN_INNER__DEPT": "3"})
    text = describe(Lists, "t")
    assert "# layers\n# inner.depth = 2\n" in text
    lines = [line[2:] for line in text.splitlines() if line.startswith("# inner.")]
    assert tomllib.loads("\n".join(lines)) == {"inner": {"depth": 2, "name": "a"}}


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"steps = 'x'.*; seed = 'y'"):
        resolve(ToyConfig, "toy", flags={"steps": "x", "seed": "y"}, environment={})


def test_an_unknown_environment_variable_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="MMGAN_BATCHSIZE is not a setting .* Did you mean 'batch_size'"):
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


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        (b"\xef\xbb\xbfsteps = 7", {"steps": 7}),
        (b"steps = 7\r\n", {"steps": 7}),
        ("data = 'C:\\Users\\ü'".encode(), {"data": "C:\\Users\\ü"}),
    ],
)
def test_files_as_windows_writes_them(tmp_path: Path, data: bytes, settings: dict[str, object]) -> None:
    file = tmp_path / "some.toml"
    file.write_bytes(data)
    assert read_file(file) == settings


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        ("steps = 7".encode("utf-16"), "is not TOML", "It is in UTF-16. Save it as UTF-8"),
        (rb'data = "C:\Users\x"', "Invalid hex value", "stands in single quotes"),
        (b"steps = " + b"9" * 5000, "is not TOML: Exceeds the limit", ""),
        (b"x = " + b"[" * 10_000, "too many brackets in each other", ""),
        (b"#" * (2**20 + 1), "1,048,577 bytes, and at most 1,048,576 are read", ""),
    ],
)
def test_a_file_that_is_no_settings(tmp_path: Path, data: bytes, message: str, hint: str) -> None:
    file = tmp_path / "some.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=message) as caught:
        read_file(file)
    assert hint in caught.value.hint


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "loop", tmp_path / "fifo" / "x", Path("/dev/zero")):
        with pytest.raises(ConfigError, match="Can't read the config file"):
            read_file(path)
    (tmp_path / "link").symlink_to("real.toml")
    (tmp_path / "real.toml").write_text("steps = 7")
    assert read_file(tmp_path / "link") == {"steps": 7}


@pytest.mark.parametrize("name", ["f\udcf6lder/100%", "bytes:a", "ü", "C:\\x"])
def test_a_name_that_is_not_utf_8_survives_its_file(name: str) -> None:
    config = check(Typed, {"plugin": "t", "data": f"/{name}", "weights": name if name[0] != "b" else ""})
    assert config.data == f"/{name}"
    text = to_toml(config)
    assert check(Typed, tomllib.loads(text)) == config
    assert ("bytes:" in text) == ("\udcf6" in name or name[0] == "b")
    assert check(Typed, {"plugin": "t", "data": "bytes:f%F6lder/100%25"}).data == "f\udcf6lder/100%"


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
    assert parse_assignments(["a.b=1", "a.c-d=2", "a.b=3"]) == {"a": {"b": "3", "c_d": "2"}}
    assert parse_assignments([".".join("x" * 5000) + "=1"] * 2), "however deep"
    with pytest.raises(ConfigError, match="--set takes key=value, not 'loss'"):
        parse_assignments(["loss"])
