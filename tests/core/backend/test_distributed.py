"""Two processes train one run: what is equal to what, what each does, and how they end together.

To start a process takes seconds. So one pair of them (``work``, below) plays all that needs no command line,
and leaves what it saw to the tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from agents import children, common, free_port, torchrun, until
from torch import Tensor, nn
from toys import GAMES, Games, Toy, everything, mlp, toy_run

import mmgan
from mmgan import ConfigError, DivergedError, Phase, Player, Stage, UsageError, hookimpl
from mmgan.backend import buckets, distributed
from mmgan.backend.buckets import Buckets
from mmgan.backend.distributed import Group, Ranks
from mmgan.cli import main
from mmgan.engine import train
from mmgan.losses import adversarial_loss, gradient_penalty
from mmgan.plugins import Plugins
from mmgan.storage import rank_state
from mmgan.storage.files import write_text

STEPS = 24
#: The built-in games, small. SeqGAN's 24 steps go through all its stages: 6 of likelihood, 8 of D, the game.
BUILT_IN: dict[str, dict[str, Any]] = {
    "gan": {"width": 8, "flip": True, "ema": 0.9},
    "dcgan": {"width": 8, "flip": True, "ema": 0.9},
    "r3gan": {"widths": (8, 8, 8, 8), "group": 8, "flip": True, "ema_half_life": 100.0},
    "wavegan": {"data": "drums:20", "dim": 2, "batch_size": 2, "critic_steps": 1, "sample_every": 0},
    "seqgan": {
        "vocabulary": 30, "length": 6, "hidden": 8, "embedding": 8, "rollouts": 2, "lag": 0.5,
        "mle_steps": 6, "negatives": 8, "pretrain_rounds": 1, "pretrain_epochs": 2, "rounds": 2, "epochs": 1,
        "evaluate_every": 15, "sample_every": 0,
    },
    "pix2pix": {"size": 16, "width": 2, "d_width": 2, "d_layers": 1, "sample_every": 0},
    "cyclegan": {"size": 16, "width": 2, "blocks": 1, "d_width": 2, "d_layers": 1, "pool": 4, "ema": 0.9},
}  # fmt: skip
PLUGINS = [*GAMES, *BUILT_IN]
#: Those that are played once more, with gradients in buckets: penalties, several stages, several networks.
BUCKETED = [*GAMES, "wavegan", "seqgan"]
#: Built-in games without batch norm, and without what is drawn at random while a step is played: no dropout,
#: phase shuffle or pool, and a penalty that mixes nothing. SeqGAN draws its texts, and dcgan has batch norm.
SPLIT: dict[str, dict[str, Any]] = {
    "gan": {"width": 8, "batch_norm": False, "dropout": 0.0, "penalty": "r1"},
    "wavegan": BUILT_IN["wavegan"] | {"phase_shuffle": 0, "penalty": "r1"},
    "pix2pix": BUILT_IN["pix2pix"] | {"norm": "instance", "dropout": "none", "penalty": "r1"},
    "cyclegan": BUILT_IN["cyclegan"] | {"pool": 0, "dropout": "none", "penalty": "r1"},
}


class Given(Toy):
    """A game in which nothing is drawn: latents and interpolates are functions of the examples."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (Stage("train", (Phase("D", "D", repeat=2), Phase("lazy", "D", every=3), Phase("G", "G"))),)

    def build(self) -> dict[str, Player]:
        self.g, self.d = mlp(2, 2), mlp(2, 1)
        adam_g, adam_d = (torch.optim.Adam(net.parameters(), 1e-2) for net in (self.g, self.d))
        return {
            "G": Player(self.g, adam_g, ema=0.9, schedule=lambda step: 1 / (1 + step)),
            "D": Player(self.d, adam_d, clip_norm=0.5, clip_weights=0.4),
        }

    def forward(self, batch: Tensor) -> Tensor:
        return self.g(torch.sin(40 * batch))

    def loss(self, phase: str, batch: Tensor, shared: Tensor) -> dict[str, Tensor]:
        wgan = adversarial_loss("wgan")
        if phase == "G":
            return {"G/adv": wgan.generator(self.d(shared))}
        fake = shared.detach()
        share = torch.sin(70 * batch[:, :1]).abs()
        mixed = (share * batch + (1 - share) * fake).requires_grad_()
        penalty = 10 * gradient_penalty(self.run.grad(self.d, mixed)[1])
        if phase == "lazy":
            return {"D/penalty": penalty}
        return {"D/adv": wgan.discriminator(self.d(batch), self.d(fake)), "D/penalty": 0.1 * penalty}

    def sample(self, n: int) -> mmgan.PointSamples:
        return mmgan.PointSamples(self.run.players["G"].sampler(torch.randn(n, 2)))


class Deterministic:
    """A built-in game whose latents are a function of the examples, which two ranks have between them."""

    def build(self) -> dict[str, Player]:
        players = super().build()  # type: ignore[misc]
        for player in players.values():
            # Adam's first steps are all of one length: where a gradient is nothing but rounding, they differ.
            # And small ones, since instance norm over these tiny pictures enlarges what differs.
            player.optimizer = torch.optim.SGD(player.module.parameters(), 2e-4, momentum=0.5)
        return players

    def forward(self, real: Any) -> Any:
        if isinstance(real, torch.Tensor):  # pairs of pictures are translated, from no latents
            self.given = torch.sin(40 * real.flatten(1)[:, -self.config.latent :])  # type: ignore[attr-defined]
        return super().forward(real)  # type: ignore[misc]

    def latents(self, n: int) -> torch.Tensor:
        return self.given


def split_run(plugin: str, batch_size: int) -> mmgan.Run:
    plugins = Plugins()
    task = plugins.task(plugin)
    plugins.tasks[plugin].thing = type(task.__name__, (Deterministic, task), {})
    settings = {"plugin": plugin, "steps": 5, "device": "cpu", "precision": "fp32", "tensorboard": False}
    settings |= SPLIT[plugin] | {"batch_size": batch_size, "sample_every": 0}
    return mmgan.new_run(mmgan.config.check(task.Config, settings), plugins)


# What a pair of processes plays.


class Heard:
    """A listener that counts what it is told."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.metrics: dict[str, Any] = {}

    @hookimpl
    def after_step(self) -> None:
        self.calls["step"] = self.calls.get("step", 0) + 1

    @hookimpl
    def after_log(self, metrics: dict[str, Any]) -> None:
        self.metrics = metrics

    @hookimpl
    def after_sample(self) -> None:
        self.calls["sample"] = self.calls.get("sample", 0) + 1


def open_run(plugin: str, folder: Path | None, **changes: Any) -> mmgan.Run:
    settings = {"plugin": plugin, "steps": STEPS, "batch_size": 4, "device": "cpu", "precision": "fp32"}
    settings |= {"tensorboard": False, "sample_every": 20, "checkpoint_every": 20} | BUILT_IN.get(plugin, {})
    plugins = Plugins(Games())
    return mmgan.new_run(mmgan.config.check(plugins.task(plugin).Config, settings | changes), plugins, folder)


def digest(run: mmgan.Run, *kinds: str) -> str:
    """Hash what a run has of some kinds. A batch norm's statistics are each rank's own, and left out."""
    sums = hashlib.sha256()
    buffers = {
        f"/weights/{name}{average}/{key}"
        for name, player in run.players.items()
        for average in ("", ".average")
        for key, _ in player.module.named_buffers()
    }
    for path, tensor in sorted(everything(run).items()):
        if path.startswith(kinds) and path not in buffers:
            sums.update(f"{path} {tensor.dtype}".encode() + tensor.contiguous().numpy().tobytes())
    return sums.hexdigest()


SAME = ("/weights", "/state/players", "/state/scalers", "/state/step", "/state/data")


def seen(error: type[BaseException], call: Callable[[], Any]) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def games(folder: Path, rank: int, result: dict[str, Any]) -> None:
    """Each game: straight, and stopped by a signal to rank 1 alone, and taken up again."""
    from mmgan.cli.signals import stopping
    from mmgan.cli.training import exit_code_of

    for plugin in PLUGINS:
        straight = open_run(plugin, folder / f"{plugin}-straight")
        train(straight)
        stopped = open_run(plugin, folder / f"{plugin}-stopped")
        plain = stopped.task.step

        def step(run: mmgan.Run, stage: Stage, index: int, plain: Any = plain) -> Any:
            if rank == 1 and run.step == 12:
                os.kill(os.getpid(), signal.SIGTERM)
            return plain(run, stage, index)

        stopped.task.step = step  # type: ignore[method-assign]
        with stopping(stopped):
            report = train(stopped)
        resumed = mmgan.load_run(folder / f"{plugin}-stopped", Plugins(Games()))
        train(resumed)
        result[plugin] = {
            "same": digest(straight, *SAME),
            "all": digest(straight, *SAME, "/state/task", "/state/rng"),
            "resumed": digest(resumed, *SAME, "/state/task", "/state/rng"),
            "random": digest(straight, "/state/rng"),
            "stopped": [report.state, report.step, exit_code_of(report)],
        }


def odds(folder: Path, rank: int, result: dict[str, Any]) -> None:
    """What needs no whole game."""
    heard = Heard()
    run = toy_run("toy", None, heard, task=Given, steps=21, batch_size=4, log_every=7, sample_every=10)
    train(run)
    torch.save(everything(run), folder / f"given-{rank}.pt")
    result["heard"], result["metrics"] = heard.calls, heard.metrics
    result["batches"] = run.loader.position

    for plugin in SPLIT:
        run = split_run(plugin, batch_size=2)
        train(run)
        torch.save(everything(run), folder / f"split-{plugin}-{rank}.pt")

    # Layouts, and gradients that are missing.
    weights = [nn.Parameter(torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last))]
    weights += [nn.Parameter(torch.zeros(3)) for _ in range(2)]
    weights[0].grad = torch.arange(96.0).view(2, 3, 4, 4).to(memory_format=torch.channels_last) * (1 + rank)
    weights[1].grad = torch.full((3,), 5.0) if rank else None
    loss = run.ranks.all_reduce_gradients(weights, torch.tensor(2.0 + rank))
    assert weights[0].grad.is_contiguous(memory_format=torch.channels_last)
    result["average"] = [None if w.grad is None else w.grad.flatten()[-1].item() for w in weights]
    result["loss"] = loss.item()
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    result["sparse"] = seen(mmgan.PluginError, lambda: run.ranks.all_reduce_gradients([table.weight], loss))

    result["mean"] = run.ranks.mean(torch.tensor([rank, 4 - rank])).tolist()
    result["mean of each"] = run.ranks.mean_of_each({"both": 2.0 * rank, f"of {rank}": 5.0})

    # One gradient that overflows on one rank halves the scale of both.
    class Overflowing(Toy):
        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            large = 1e35 if (rank, self.run.step, phase) == (1, 2, "D") else 1.0
            return {name: large * value for name, value in super().loss(phase, batch, shared).items()}

    half = toy_run(task=Overflowing, steps=4, precision="fp16")
    train(half)
    result["fp16"] = digest(half, *SAME)
    result["scales"] = [half.precision.scaler(player).get_scale() for player in "GD"]

    # A network that was made without the seed.
    class Careless(Toy):
        def build(self) -> dict[str, Player]:
            torch.manual_seed(os.getpid())
            return super().build()

    careless = toy_run(task=Careless, steps=3)
    result["careless before"] = digest(careless, "/weights")
    train(careless)
    result["careless"] = digest(careless, "/weights")

    (folder / "full").mkdir(exist_ok=True)
    (folder / "full" / "thesis.txt").write_text("x")
    result["claim"] = seen(UsageError, lambda: toy_run(folder=folder / "full"))
    # Rank 0's folder is the run's.
    result["folder"] = str(toy_run(folder=folder / f"place-{rank}").folder)
    result["save"] = seen(UsageError, toy_run().save)
    result["sync"] = seen(ConfigError, lambda: toy_run(sync_batch_norm=True))

    class Poisoned(Toy):
        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            poison = float("nan") if (rank, self.run.step, phase) == (1, 6, "D") else 1.0
            return {name: poison * value for name, value in super().loss(phase, batch, shared).items()}

    poisoned = toy_run(task=Poisoned)
    result["nan"] = seen(DivergedError, lambda: train(poisoned))


def bucketed(folder: Path, rank: int, result: dict[str, Any]) -> None:
    """Some of the games again, with gradients in small buckets, sent while others are computed."""
    early: list[int] = []
    whole = Buckets.reduce

    def reduce(self: Buckets, loss: Tensor) -> Tensor:
        early.append(len(self.sent))
        return whole(self, loss)

    usual = buckets.SIZE
    buckets.SIZE, Buckets.reduce = 16, reduce  # type: ignore[method-assign]
    for plugin in BUCKETED:
        early.clear()
        run = open_run(plugin, folder / f"{plugin}-buckets")
        train(run)
        result[f"{plugin} in buckets"] = digest(run, *SAME, "/state/task", "/state/rng")
        result[f"{plugin} early"] = [min(early), max(early)]
    buckets.SIZE, Buckets.reduce = usual, whole  # type: ignore[method-assign]


def cost(result: dict[str, Any]) -> None:
    """Time what the ranks add to a step."""
    ranks = distributed.ranks()
    weights = [nn.Parameter(torch.zeros(100_000))]
    run = toy_run()
    for name, call in {
        "meet": lambda: ranks.sync_stop(run.stop_signal, run.own_state),
        "average": lambda: ranks.all_reduce_gradients(weights, torch.tensor(0.0)),
    }.items():
        weights[0].grad = torch.ones(100_000)
        start = time.perf_counter()
        for _ in range(200):
            call()
        result[f"{name} seconds"] = (time.perf_counter() - start) / 200


def work(folder: Path) -> None:
    """Play all of it, and leave what was seen in a file. At last rank 1 falls silent within a step."""
    rank = int(os.environ["RANK"])
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    result: dict[str, Any] = {}
    games(folder, rank, result)
    odds(folder, rank, result)
    bucketed(folder, rank, result)
    cost(result)
    write_text(folder / f"rank-{rank}.json", json.dumps(result))

    class Silent(Toy):
        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            if rank == 1 and self.run.step == 3:
                os.kill(os.getpid(), signal.SIGSTOP)
            return super().loss(phase, batch, shared)

    print(seen(mmgan.MmganError, lambda: train(toy_run(task=Silent))))


# How they are started.


def environment(rank: int, port: int, cache: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MMGAN_")}
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return kept | ranks | master | common(cache) | {"MMGAN_RANK_TIMEOUT": "15"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "cache"


class Played(NamedTuple):
    """What the two ranks saw, where, and they themselves, of whom the second has fallen silent."""

    folder: Path
    results: list[dict[str, Any]]
    processes: list[subprocess.Popen[str]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("ranks")
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            env=environment(rank, port, cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    files = [folder / f"rank-{rank}.json" for rank in range(2)]
    try:
        until(lambda: all(file.exists() for file in files), *processes)
        yield Played(folder, [json.loads(file.read_text()) for file in files], processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("plugin", PLUGINS)
def test_both_ranks_have_the_same_weights_averages_and_optimizers(plugin: str, played: Played) -> None:
    one, two = (result[plugin] for result in played.results)
    assert one["same"] == two["same"]
    assert one["random"] != two["random"]


@pytest.mark.process
@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_signal_to_one_rank_stops_both_and_a_resume_is_exact(plugin: str, played: Played) -> None:
    folder, results, _ = played
    for result in results:
        assert result[plugin]["stopped"] == ["interrupted", 13, 143]
        assert result[plugin]["resumed"] == result[plugin]["all"]
    straight, stopped = (
        sorted((folder / f"{plugin}-{how}").glob("checkpoints/step-000024/*"))
        for how in ("straight", "stopped")
    )
    assert [file.read_bytes() for file in straight] == [file.read_bytes() for file in stopped]
    assert {"state.json", "manifest.json"} < {file.name for file in straight}
    status = json.loads((folder / f"{plugin}-stopped" / "status.json").read_text())
    assert (status["state"], status["step"]) == ("finished", STEPS)


@pytest.mark.process
def test_two_ranks_are_one_with_twice_the_batch(played: Played) -> None:
    folder, results, _ = played
    alone = toy_run(task=Given, steps=21, batch_size=8, sample_every=10)
    train(alone)
    expected = {path: tensor for path, tensor in everything(alone).items() if "rng" not in path}
    for rank in range(2):
        found = torch.load(folder / f"given-{rank}.pt")
        for path, tensor in expected.items():
            torch.testing.assert_close(found[path], tensor, rtol=1e-4, atol=1e-6)
    assert results[0]["batches"] == alone.loader.position


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("plugin", SPLIT)
def test_two_ranks_play_a_built_in_game_as_one_with_twice_the_batch(plugin: str, played: Played) -> None:
    alone = split_run(plugin, batch_size=4)
    before = {path: tensor.clone() for path, tensor in everything(alone).items()}
    train(alone)
    weights = {path: tensor for path, tensor in everything(alone).items() if path.startswith("/weights")}
    for rank in range(2):
        found = torch.load(played.folder / f"split-{plugin}-{rank}.pt")
        for path, expected in weights.items():
            torch.testing.assert_close(found[path], expected, rtol=1e-3, atol=2e-6)
    moved = [float((tensor - before[path]).abs().max()) for path, tensor in weights.items()]
    assert max(moved) > 1e-4, moved


@pytest.mark.process
def test_only_rank_0_has_listeners_and_samples(played: Played) -> None:
    one, two = played.results
    assert one["heard"] == {"step": 21, "sample": 3}
    assert two["heard"] == {}
    assert two["metrics"] == {}
    # Three batches of 4 on 2 ranks... and the meter counts both.
    speed = one["metrics"]["samples_per_s"] / one["metrics"]["steps_per_s"]
    assert speed == pytest.approx(2 * 2 * 4)
    folder = played.folder
    assert len(list(folder.glob("toy-straight/samples/*"))) == 2


@pytest.mark.process
def test_gradients_are_averaged_and_missing_ones_count_as_zeros(played: Played) -> None:
    for result in played.results:
        assert result["average"] == [95 * 1.5, 2.5, None]
        assert result["loss"] == 2.5
        assert "sparse gradients" in result["sparse"]


@pytest.mark.process
@pytest.mark.parametrize("plugin", BUCKETED)
def test_buckets_do_not_show_in_the_result(plugin: str, played: Played) -> None:
    for result in played.results:
        assert result[f"{plugin} in buckets"] == result[plugin]["all"]
        assert result[f"{plugin} early"][1] > 0


@pytest.mark.process
def test_means_over_the_ranks(played: Played) -> None:
    for result in played.results:
        assert result["mean"] == [0.5, 3.5]
        assert result["mean of each"] == {"both": 1.0, "of 0": 5.0, "of 1": 5.0}


@pytest.mark.process
def test_an_overflow_on_one_rank_skips_the_update_of_both(played: Played) -> None:
    one, two = played.results
    assert one["fp16"] == two["fp16"]
    assert one["scales"] == two["scales"] == [65536, 32768]


@pytest.mark.process
def test_all_begin_with_the_weights_of_rank_0(played: Played) -> None:
    one, two = played.results
    assert one["careless before"] != two["careless before"]
    assert one["careless"] == two["careless"]


@pytest.mark.process
def test_what_fails_on_one_rank_fails_on_both(played: Played) -> None:
    one, two = played.results
    assert one["claim"] == two["claim"]
    assert "is not empty" in one["claim"]
    assert one["nan"] == two["nan"]
    assert "The loss of phase 'D' became NaN or infinite at step 7" in one["nan"]
    for result in (one, two):
        assert "A run of 2 processes is saved by rank 0" in result["save"]
        assert "sync_batch_norm = true: torch has it on GPUs only" in result["sync"]


@pytest.mark.process
def test_all_know_the_folder_of_rank_0(played: Played) -> None:
    folder, results, _ = played
    assert {result["folder"] for result in results} == {str(folder / "place-0")}
    assert not (folder / "place-1").exists()


@pytest.mark.process
def test_a_step_s_exchange_is_short(played: Played) -> None:
    for result in played.results:
        print(result["meet seconds"], result["average seconds"])
        assert result["meet seconds"] < 0.1
        assert result["average seconds"] < 0.1


# The command line.


@pytest.fixture
def _clean(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    for name in [name for name in os.environ if name.startswith("MMGAN_")]:
        monkeypatch.delenv(name)
    for name, value in common(cache).items():
        monkeypatch.setenv(name, value)


SMALL = ("--batch-size", 4, "--set", "width=8", "--set", "tensorboard=false")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("_clean")
def test_torchrun(tmp_path: Path) -> None:
    words = torchrun("run", "--plugin", "dcgan", "--steps", 4, "--json", *SMALL)
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert (document["folder"], document["state"], document["step"]) == ("runs/dcgan-001", "finished", 4)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["dcgan-001"]
    assert ended.stderr.count("processes: 2, each with batches of 4") == 1
    assert ended.stderr.count("finished at step 4 of 4") == 1
    state = json.loads((tmp_path / document["checkpoint"] / "state.json").read_text())
    assert len(state["ranks"]) == 1
    assert state["ranks"][0]["task"] == {}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.filterwarnings("always:The number of processes")
@pytest.mark.usefixtures("_clean")
def test_torchrun_resumes_and_a_killed_rank_ends_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--plugin", "gan", "--steps", 3, *SMALL, "--set", "checkpoint_every=20", "--out", "run"]
    assert main(["run", *map(str, words)]) == 0

    def saved() -> list[str]:
        return sorted(path.name for path in Path("run/checkpoints").glob("step-*"))

    process = subprocess.Popen(
        torchrun("resume", "run", "--steps", 10**6), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: saved()[-1] >= "step-000040", process)
        first = json.loads(Path("run/status.json").read_text())["pid"]
        (second,) = children(process.pid) - {first}
        os.kill(second, signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (1, "")
    assert "warning: The number of processes that train this run changes from 1 to 2: it goes on" in err
    assert "error: Rank 0 of 2 lost the others" in err
    status = json.loads(Path("run/status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 1)

    # What two have done one goes on with, where the data was.
    capsys.readouterr()
    step = int(saved()[-1].removeprefix("step-"))
    assert main(["resume", "run", "--steps", str(step + 2)]) == 0
    assert "changes from 2 to 1: it goes on" in capsys.readouterr().err
    state = json.loads((Path("run/checkpoints") / saved()[-1] / "state.json").read_text())
    assert "ranks" not in state
    # Three batches alone are one and a half for two, of which the half is seen again.
    assert state["data"]["position"] == 2 * (1 + step - 3) + 2


# Without others.


def test_one_process_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(distributed.ranks()) is Ranks
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert type(distributed.ranks()) is Ranks
    assert not torch.distributed.is_initialized()
    assert toy_run(sync_batch_norm=True).ranks.world == 1


def test_stdout_is_rank_0_s_for_errors_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, where in ((0, "out"), (1, "err")):
        monkeypatch.setenv("RANK", str(rank))
        assert main(["run", "--json"]) == 2
        captured = capsys.readouterr()
        assert "mmgan run needs --plugin NAME" in getattr(captured, where)
        assert bool(captured.out) == (rank == 0)


def test_an_environment_that_does_not_say_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match="ask for several processes, but: .*MASTER_ADDR"):
        Group()
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(UsageError, match="ask for several processes, but: .*'first'"):
        Group()
    for wrong in ("soon", "0", "nan"):
        monkeypatch.setenv("MMGAN_RANK_TIMEOUT", wrong)
        with pytest.raises(ConfigError, match=f"MMGAN_RANK_TIMEOUT = '{wrong}' is not a number of seconds"):
            Group()


def second_of_two() -> Group:
    group = object.__new__(Group)
    group.rank, group.world, group.local_rank = 1, 2, 1
    return group


def test_each_rank_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    group = second_of_two()
    assert group.device_for_rank(mmgan.Device("cuda")).torch == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")]
    assert group.device_for_rank(mmgan.Device("cpu")).torch == torch.device("cpu")
    with pytest.raises(ConfigError, match="device = 'cuda:0': 2 processes train, each on a GPU of its own"):
        group.device_for_rank(mmgan.Device("cuda:0"))
    with pytest.raises(ConfigError, match="device = 'mps': 2 processes train on cpu or on cuda only"):
        group.device_for_rank(mmgan.Device("mps"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="no GPU for local rank 1: it has 1"):
        group.device_for_rank(mmgan.Device("cuda"))
    monkeypatch.setenv("MMGAN_RANKS_SHARE_GPU", "1")
    assert group.device_for_rank(mmgan.Device("cuda")).torch == torch.device("cuda:0")


@pytest.mark.parametrize(
    ("shared", "backend"), [("", "cpu:gloo,cuda:nccl"), ("0", "cpu:gloo,cuda:nccl"), ("1", "gloo")]
)
def test_nccl_where_each_rank_has_a_gpu(shared: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def begin(backend: str, **_: Any) -> None:
        asked.append(backend)
        raise ValueError("enough")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(distributed.dist, "init_process_group", begin)
    monkeypatch.setattr(distributed, "rendezvous", lambda *_, **__: iter([(None, 0, 2)]))
    monkeypatch.setattr(distributed, "met", lambda store, *_: store)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MMGAN_RANKS_SHARE_GPU": shared}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="enough"):
        Group()
    assert asked == [backend]


def test_batch_norm_is_synchronised_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    player = toy_run().players["G"]
    weights = list(player.module.parameters())
    second_of_two().synchronize_batch_norm(player, mmgan.Device("cuda"))
    assert isinstance(player.module[1], nn.SyncBatchNorm)
    assert all(ours is theirs for ours, theirs in zip(player.module.parameters(), weights, strict=True))


def test_what_differs_between_ranks() -> None:
    same = {"a": 1, "b": [torch.ones(2), {"c": "x"}], "d": None}
    assert rank_state.difference(same, {**same, "b": [torch.ones(2), {"c": "x"}]}) == {}
    for other in ([torch.zeros(2), {"c": "x"}], [torch.ones(2), {"c": "y"}], [torch.ones(2)], 3):
        assert list(rank_state.difference(same, {**same, "b": other})) == ["b"]


# Last, since it takes a while, in which the tests above have begun.
@pytest.mark.process
def test_a_rank_that_does_not_answer_is_given_up(played: Played) -> None:
    out, err = played.processes[0].communicate(timeout=60)
    assert played.processes[0].returncode == 0, err
    assert "Rank 0 of 2 lost the others: one has ended, or did not answer within 15 seconds" in out


if __name__ == "__main__":
    work(Path(sys.argv[1]))
