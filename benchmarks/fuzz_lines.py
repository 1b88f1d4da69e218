"""Command lines at random: every command and option of mmgan, with values that are right, on the edge, or
hostile. Most lines are right but for one or two values, so that they come past the parser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, get_args, get_origin

import click

#: A run of each task that takes a fraction of a second.
TINY = {
    "gan": "data=ring width=4 batch_size=4 latent=2",
    "dcgan": "data=digits width=2 batch_size=4 latent=4 size=32",
    "seqgan": "data=oracle vocabulary=20 length=6 embedding=4 hidden=8 batch_size=4 negatives=8 rollouts=2 "
    "mle_steps=1 pretrain_rounds=1 pretrain_epochs=1 evaluate_every=0",
    "wavegan": "data=drums:8 dim=1 batch_size=2 latent=4 critic_steps=1",
    "pix2pix": "data=digits width=2 d_width=2 batch_size=2",
    "cyclegan": "data=digits width=2 d_width=2 batch_size=2 blocks=1",
}
STEPS = "steps=2 log_every=1 tensorboard=false device=cpu"

#: Data that a case's folder holds; the runner makes it.
DATA = {
    "gan": ["ring", "ring:3", "grid", "grid:2", "digits", "pics", "pics/0.png", "f\udcf6lder"],
    "dcgan": ["digits", "pics", "pics/0.png", "f\udcf6lder"],
    "seqgan": ["oracle", "oracle:7", "texts.txt", "texts"],
    "wavegan": ["drums:8", "sounds", "sounds/0.wav"],
    "pix2pix": ["digits", "pairs"],
    "cyclegan": ["digits", "sides"],
}
PATHS = [
    "", " ", ".", "..", "/etc", "~nobody-here/x", "absent", "pics", "texts.txt", "empty.png",
    "texts.txt/below", "pics/absent/x", "fifo", "loop", "loop/x", "dangling", "/dev/null", "/dev/zero",
    "/dev/full", "/proc/new", "/proc/self/mem", "x" * 300, "a\nb", "-", "--", "ü", "f\udcf6lder", "\udcff",
    "bytes:f%F6lder", "bytes:%00", "bytes:", "C:\\new", "runs/gan", "runs/gan/config.toml", "runs/absent",
    "ring", "torchvision:MNIST", "torchvision:", "ring:", "ring:0", "ring:" + "9" * 5000, "grid:²",
    "oracle:-1", "drums:999999999999", "digits:x", ":", "folder", "empty", "http://x.invalid/",
]  # fmt: skip
NUMBERS = [
    "-1", "0", "1", "2", "3", "5", "0.0", "0.5", "1.0", "-0.5", "1e-300", "1e300", "1e400", "nan", "inf",
    "-inf", "2147483648", "9007199254740992", "9007199254740993", "9223372036854775808", "1" + "0" * 30,
    "9" * 5000, "0x10", "0x" + "f" * 5000, "1_000", "٣", "²", "007", "1e3", "+1",
]  # fmt: skip
ENDLESS = ("2147483648", "9007199254740992")
#: Integers that make a run long and nothing else: those between are left out.
LONG = {
    "steps", "critic_steps", "rollouts", "negatives", "mle_steps", "pretrain_rounds", "pretrain_epochs",
    "rounds", "epochs", "iterations", "warmup", "count", "ranks", "workers", "blocks", "rollout_rows",
    "length", "vocabulary", "pool",
}  # fmt: skip
WORDS = [
    "", " ", "none", "auto", "null", "true", "false", "[]", "[0.5, 0.9]", "[2.0, 3.0]", "[nan, 0.9]",
    "[-1, 0]", "[0.5]", "[1, 2, 3]", "{}", "{a = 1}", "[" * 10_000, "'", '"', "'x'", "1979-05-27",
    "07:32:00", "0.1.2", "\\", "\t", "\n", "1\nplugin = 'x'", "ü", "\udcf6", "x" * 5000, "NONE", "wgan",
    "cpu", "cuda", "cuda:99", "cpu:1", "cpu:-1", "meta", "mps", "cuda:x", "xpu", "fp32", "bf16", "fp16",
    "int4", "#12345", "#gggggg", "red", "rgba(0,0,0,0)", "hsl(0,0%,0%)",
]  # fmt: skip
TOML = [
    "", "\ufeffsteps = 2", "steps = 2", "steps = 'x'", "steps = 2.0", "steps = true", "steps = []",
    "steps = 1979-05-27", "[section]", "a.b = 1", "[[x]]", "x = " + "[" * 2000,
    "x = " + "[" * 500 + "]" * 500, "steps = " + "9" * 5000, 'data = "a\\u0000b"', 'data = "C:\\Users\\x"',
    'data = "C:\\new"', "plugin = 3", 'plugin = "nothing"', 'plugin = "gan"', "loss = 1", "betas = [1]",
    "betas = [[0.5, 0.9]]", "batch_size = 1099511627776", "lr = nan", "lr = inf", "seed = -1", '"" = 1',
    '"\\u0000" = 1', "x" * 5000, "\x00", "= 1", "a = 1\na = 2", "workers = 1000000", "width = 0",
    "size = 33", "precision = ''", "device = 7",
]  # fmt: skip


@dataclass
class Line:
    """A command line, and what it needs beside the folder that every line has."""

    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    toml: str = ""


class Grammar:
    """Makes lines.

    Args:
        group: mmgan's command line; what options there are is asked of it.
        configs: The config class of each task.
        random: Where all comes from.
    """

    def __init__(self, group: click.Group, configs: dict[str, Any], random: Random) -> None:
        self.group, self.configs, self.random = group, configs, random

    def line(self) -> Line:
        """Make a line."""
        kinds = ["run"] * 10 + ["resume"] * 3 + ["sample"] * 3 + ["evaluate"] * 2 + ["translate"] * 2
        kinds += ["config", "plugins", "new-plugin", "doctor", "other"]
        kind = (
            self.random.choice(kinds)
            if self.random.random() < 0.99
            else self.random.choice(["bench", "check"])
        )
        line = Line([])
        if kind == "run":
            self.run(line)
        elif kind == "check":
            task = self.random.choice(list(TINY))
            line.words = [
                "plugins",
                "check",
                task,
                *self.sets(self.settings(task)),
                *self.options("plugins check", 0.1),
            ]
        elif kind == "bench":
            task = self.random.choice(list(TINY))
            line.words = [
                "bench",
                "--plugin",
                task,
                *self.sets(self.settings(task)),
                "--rounds",
                "1",
                "--warmup",
                "0",
            ]
        elif kind == "other":
            line.words = [self.hostile("path") for _ in range(self.random.randint(0, 3))]
        else:
            task = self.task()
            line.words = [kind, *self.arguments(kind, task), *self.options(kind, 0.15)]
        if self.random.random() < 0.1:
            task = self.random.choice(list(TINY))
            name = self.random.choice(
                sorted({*self.configs[task].model_fields} - {"compile", "convolutions"})
            )
            value = self.value(task, name).replace("\0", "")
            line.environment[f"MMGAN_{name.upper()}"] = value
        if self.random.random() < 0.05:
            self.random.shuffle(line.words)
        return line

    def run(self, line: Line) -> None:
        """Make a line of ``mmgan run``."""
        task = self.random.choice([*TINY, "gan", "gan", "dcgan"])
        settings = self.settings(task)
        if self.random.random() < 0.5:
            settings["data"] = self.random.choice(DATA[task])
            if settings["data"] in ("pairs", "sides"):
                settings |= {"size": "32", "batch_size": "2", "d_layers": "2"}
        for _ in range(self.random.choice([0, 0, 1, 1, 1, 1, 2])):
            name = self.random.choice(list(self.configs[task].model_fields))
            # Compiling and tuning take minutes, and are right or wrong whatever else is given.
            if name not in ("plugin", "compile", "convolutions"):
                settings[name] = self.value(task, name)
        line.words = ["run", "--plugin", task]
        if self.random.random() < 0.15:
            line.toml = self.random.choice(TOML)
            line.words += ["--config", "my.toml"]
        for name in ("data", "steps", "batch_size", "seed", "device", "precision"):
            if name in settings and self.random.random() < 0.5:
                line.words += [f"--{name.replace('_', '-')}", settings.pop(name)]
        line.words += self.sets(settings)
        if self.random.random() < 0.5:
            line.words += ["--out", "new" if self.random.random() < 0.7 else self.hostile("path")]
        if self.random.random() < 0.2:
            line.words += self.options("run", 0.1)

    def settings(self, task: str) -> dict[str, str]:
        """Return the settings of a tiny run."""
        return dict(item.split("=", 1) for item in f"{TINY[task]} {STEPS}".split())

    def sets(self, settings: dict[str, str]) -> list[str]:
        """Write settings as options."""
        return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]

    def task(self) -> str:
        """Choose a task, or what is none."""
        return self.random.choice([*TINY, *TINY, "GAN", "", "x" * 300, "ü"])

    def arguments(self, kind: str, task: str) -> list[str]:
        """Return the arguments of a command."""
        good = self.random.random() < 0.8
        if kind in ("resume", "sample", "evaluate", "translate"):
            names = (
                ["pix2pix", "cyclegan"] if kind == "translate" and self.random.random() < 0.9 else list(TINY)
            )
            words = [f"runs/{self.random.choice(names)}" if good else self.hostile("path")]
            if kind == "resume" and self.random.random() < 0.8:
                words += ["--steps", "3"]
            if kind == "translate":
                words += [self.random.choice(["pics", "pics/0.png", self.hostile("path")])]
                words += ["--out", "new" if self.random.random() < 0.8 else self.hostile("path")]
            return words
        if kind == "new-plugin":
            return ["my-gan" if good else self.hostile("word")]
        return [task] if kind == "config" else []

    def options(self, kind: str, share: float) -> list[str]:
        """Return some of a command's options: each with a probability."""
        command: Any = self.group
        for name in kind.split():
            command = command.commands[name]
        words = []
        for parameter in command.params:
            slow = parameter.name in ("compile", "convolutions")
            if slow or not isinstance(parameter, click.Option) or self.random.random() > share:
                continue
            words.append(self.random.choice(parameter.opts))
            if not parameter.is_flag:
                words.append(self.option(parameter))
        return words

    def option(self, parameter: click.Option) -> str:
        """Return a value for an option."""
        name = parameter.name or ""
        if isinstance(parameter.type, click.Choice) and self.random.random() < 0.8:
            return self.random.choice(list(parameter.type.choices))
        if name == "settings":
            setting = self.random.choice(["temperature", "batch_size", "lr", "data", "Loss", "", "x"])
            return f"{setting}={self.hostile('any')}"
        if name == "checkpoint":
            return self.random.choice(
                ["last", "best", "2", "1", "999", "²", "٣", "-1", "9" * 5000, "", "last "]
            )
        if isinstance(parameter.type, click.types.IntParamType):
            return self.number(name)
        if name in ("device", "precision", "prompt"):
            return self.random.choice(WORDS)
        return self.hostile("path")

    def number(self, name: str) -> str:
        """Return an integer, on the edge or hostile."""
        if self.random.random() < 0.4:
            return self.random.choice(["1", "2", "3", "4", "8"])
        return self.random.choice([v for v in NUMBERS if v not in ENDLESS or name not in LONG])

    def value(self, task: str, name: str) -> str:
        """Return a value for a setting of a task: often of its type, sometimes not."""
        annotation = self.configs[task].model_fields[name].annotation
        if self.random.random() < 0.15:
            return self.hostile("any")
        if get_origin(annotation) is Literal:
            return str(self.random.choice(get_args(annotation)))
        if annotation is bool:
            return self.random.choice(["true", "false"])
        if name in ("data", "data_b", "data_root", "inception_weights"):
            return self.hostile("path")
        if annotation is str:
            return self.random.choice(WORDS)
        if annotation in (int, float):
            return self.number(name)
        return self.random.choice([word for word in WORDS if word.startswith("[")])

    def hostile(self, kind: str) -> str:
        """Return a value that is hardly ever right."""
        pools = {"path": PATHS, "word": WORDS, "any": [*PATHS, *WORDS, *NUMBERS]}
        value = self.random.choice(pools[kind])
        # These would make a long run, wherever they are right.
        return "3" if value in ENDLESS else value
