"""The adversarial loop: who is updated when, with what, and that it is the plain loop and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import Toy, ToyWGAN, again, assert_same, mlp, toy_run

import mmgan
from mmgan import DivergedError, Phase, Player, Stage, hookimpl
from mmgan.engine import play_step, train, update
from mmgan.errors import ConfigError, PluginError
from mmgan.losses import penalty
from mmgan.players import average_images
from mmgan.task import stage_at


def snapshot(run: mmgan.Run) -> dict[str, dict[str, Tensor]]:
    return copy.deepcopy({name: dict(p.module.named_parameters()) for name, p in run.players.items()})


def changed(before: dict[str, dict[str, Tensor]], run: mmgan.Run) -> set[str]:
    now = snapshot(run)
    return {n for n in now if any(not torch.equal(now[n][key], before[n][key]) for key in now[n])}


def test_a_step_is_the_loop_that_one_would_write_by_hand() -> None:
    run = toy_run(steps=30)
    train(run)

    # The same game, written out: seeds as the run's, networks and batches in the same order.
    mmgan.backend.randomness.seed_everything(0)
    g, d = mlp(4, 2, norm=True), mlp(2, 1)
    opt_g = torch.optim.Adam(g.parameters(), 1e-2, fused=True)
    opt_d = torch.optim.Adam(d.parameters(), 1e-2, fused=True)
    batches = toy_run(steps=30).loader
    mmgan.backend.randomness.seed_everything(0)
    mlp(4, 2, norm=True), mlp(2, 1)
    bce = nn.functional.binary_cross_entropy_with_logits
    for _ in range(30):
        real = next(batches)
        fake = g(torch.randn(8, 4))
        opt_d.zero_grad()
        on_real, on_fake = d(real), d(fake.detach())
        (bce(on_real, torch.ones(8, 1)) + bce(on_fake, torch.zeros(8, 1))).backward()
        opt_d.step()
        opt_g.zero_grad()
        bce(d(fake), torch.ones(8, 1)).backward()
        opt_g.step()
    for ours, theirs in ((run.players["G"].module, g), (run.players["D"].module, d)):
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-4, atol=1e-6)


def test_a_phase_updates_its_own_player_and_leaves_the_other_without_gradients() -> None:
    run = toy_run()
    batch = run.next_batch()
    for phase, other in (("D", "G"), ("G", "D")):
        for player in run.players.values():
            player.optimizer.zero_grad()
        before = snapshot(run)
        update(run, Phase(phase, phase), batch, run.task.forward(batch))
        assert changed(before, run) == {phase}
        assert all(p.grad is None for p in run.players[other].module.parameters())
        assert all(p.requires_grad for p in run.players[other].module.parameters())


def test_opponents_are_free_again_after_a_loss_that_raised() -> None:
    class Broken(Toy):
        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            assert not any(p.requires_grad for p in self.g.parameters())
            raise RuntimeError("broken")

    run = toy_run(task=Broken)
    place = r"The task 'toy' failed in loss, phase 'D' \(test_engine.py, line \d+\): RuntimeError: broken"
    with pytest.raises(PluginError, match=place):
        train(run)
    assert all(p.requires_grad for p in run.players["G"].module.parameters())


def test_weights_that_the_task_froze_stay_frozen_and_shared_ones_are_trained_by_both() -> None:
    class Shared(Toy):
        def build(self) -> dict[str, Player]:
            players = super().build()
            self.g[0].weight.requires_grad_(False)
            self.d[2].bias = self.g[3].bias = nn.Parameter(torch.zeros(1))  # used by both players
            return players

    run = toy_run(task=Shared, steps=3)
    g, d = run.players["G"].module, run.players["D"].module
    frozen = g[0].weight.clone()
    assert all(p is not d[2].bias for p in run.opponents["G"])
    train(run)
    assert torch.equal(g[0].weight, frozen)
    assert not g[0].weight.requires_grad


class Counting(ToyWGAN):
    """Counts what the engine asks for."""

    def build(self) -> dict[str, Player]:
        self.calls: list[str] = []
        self.batches: list[Tensor] = []
        self.forwards = 0
        return super().build()

    def forward(self, batch: Tensor) -> Any:
        self.forwards += 1
        return batch

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        assert shared is batch, "what the phase shares belongs to its batch"
        self.calls.append(phase)
        self.batches.append(batch)
        return super().loss(phase, batch, shared)


def test_repeated_phases_take_fresh_batches_and_phases_of_a_step_share_one() -> None:
    run = toy_run(task=Counting, steps=2)
    train(run)
    task: Any = run.task
    assert task.calls == ["D"] * 5 + ["G"] + ["D"] * 5 + ["G"]
    assert task.batches[4] is task.batches[5]
    assert len({id(batch) for batch in task.batches}) == 10
    assert task.forwards == run.loader.position == 10


def test_a_lazy_phase_runs_only_in_every_so_many_steps_of_its_stage() -> None:
    run = toy_run(task=Counting)
    stage = Stage("train", (Phase("D", "D"), Phase("D", "D", every=4)))
    for index in range(8):
        play_step(run, stage, index)
    assert len(run.task.calls) == 8 + 2


def test_stages_follow_each_other_and_the_last_lasts() -> None:
    stages = (Stage("a", (), steps=3), Stage("b", (), steps=2), Stage("c", ()))
    assert [(s.name, i) for s, i in (stage_at(stages, step) for step in range(7))] == [
        ("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("c", 0), ("c", 1),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="more than the stages have: 5"):
        stage_at(stages[:2], 5)


def test_hooks_are_called_in_their_order() -> None:
    class Listener:
        def __init__(self) -> None:
            self.calls: list[str] = []

        @hookimpl
        def before_run(self) -> None:
            self.calls.append("before_run")

        @hookimpl
        def before_stage(self, stage: Stage) -> None:
            self.calls.append(f"before {stage.name}")

        @hookimpl
        def after_stage(self, stage: Stage) -> None:
            self.calls.append(f"after {stage.name}")

        @hookimpl
        def after_log(self, step: int, metrics: dict[str, Any]) -> None:
            self.calls.append(f"log {step}")
            assert metrics["stage"] in ("pretrain-g", "pretrain-d", "adversarial")

        @hookimpl
        def after_sample(self, step: int, samples: mmgan.Samples) -> None:
            self.calls.append(f"sample {step} {len(samples)}")

        @hookimpl
        def after_run(self, report: mmgan.Report) -> None:
            self.calls.append(report.state)

    listener = Listener()
    run = toy_run("toy-stages", None, listener, steps=25, log_every=10, sample_every=15)
    report = train(run)
    assert (report.state, report.step) == ("finished", 25)
    assert report.seconds > 0
    assert listener.calls == [
        "before_run",
        "before pretrain-g", "log 10", "after pretrain-g",
        "before pretrain-d", "sample 15 64", "log 20", "after pretrain-d",
        "before adversarial", "log 25", "sample 25 64", "after adversarial",
        "finished",
    ]  # fmt: skip


def test_logged_losses_are_the_means_over_the_interval() -> None:
    class Ramp(Toy):
        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            zero = 0 * super().loss(phase, batch, shared)[f"{phase}/adv"]
            return {f"{phase}/step": zero + self.run.step}

    class Listener:
        logs: list[dict[str, Any]] = []  # noqa: RUF012

        @hookimpl
        def after_log(self, metrics: dict[str, Any]) -> None:
            self.logs.append(metrics)

    train(toy_run("toy", None, Listener(), task=Ramp, steps=8, log_every=4))
    assert [log["D/step"] for log in Listener.logs] == [1.5, 5.5]
    assert all(0 <= log["data_wait"] <= 1 and log["samples_per_s"] > 0 for log in Listener.logs)


def test_the_moving_average_is_the_plain_formula_and_copies_buffers() -> None:
    run = toy_run(ema=0.6, steps=20)
    player = run.players["G"]
    expected = [p.detach().clone() for p in player.module.parameters()]
    stage = run.stages[0]
    for index in range(20):
        play_step(run, stage, index)
        decay = min(0.6, (2 + index) / (11 + index))
        expected = [
            decay * e + (1 - decay) * p.detach()
            for e, p in zip(expected, player.module.parameters(), strict=True)
        ]
    assert player.average is not None
    assert player.sampler is player.average
    for ours, theirs in zip(player.average.parameters(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert not ours.requires_grad
    for ours, theirs in zip(player.average.buffers(), player.module.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert toy_run(ema=0.0).players["G"].average is None


class InImages(Toy):
    """G's average has a half-life of 40 examples; G is updated twice in a step."""

    ramp_up: float | None = 0.25

    def build(self) -> dict[str, Player]:
        players = super().build()
        players["G"] = Player(
            self.g, torch.optim.Adam(self.g.parameters(), 1e-2), ema_half_life=40, ema_ramp_up=self.ramp_up
        )
        return players

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (Stage("train", (Phase("D", "D"), Phase("G", "G", repeat=2))),)


@pytest.mark.parametrize("ramp_up", [0.25, None])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_moving_average_in_images_moves_once_a_step(ramp_up: float | None, accumulate: int) -> None:
    task = type("Ramp", (InImages,), {"ramp_up": ramp_up})
    run = toy_run(task=task, steps=20, accumulate=accumulate)
    player = run.players["G"]
    expected = player.module[0].weight.detach().clone()
    for index in range(20):
        images = 8 * accumulate
        play_step(run, run.stages[0], index)
        half_life = 40.0 if ramp_up is None else min(40.0, ramp_up * images * index)
        decay = 2 ** (-images / half_life) if half_life else 0.0
        expected = decay * expected + (1 - decay) * player.module[0].weight.detach()
        assert (player.images, player.updates) == (images * (index + 1), 2 * (index + 1))
        torch.testing.assert_close(player.average[0].weight, expected)
    assert player.sampler is player.average
    assert torch.equal(player.average[1].running_mean, player.module[1].running_mean)


def test_the_moving_average_in_images_has_its_half_life() -> None:
    """After that many images of fixed weights half of where it began is left."""
    run = toy_run(task=type("Plain", (InImages,), {"ramp_up": None}), steps=20)
    player = run.players["G"]
    with torch.no_grad():
        player.average[0].weight.fill_(1.0)
        player.module[0].weight.fill_(0.0)
    for _ in range(5):
        average_images(run, player)
    torch.testing.assert_close(player.average[0].weight, torch.full((16, 4), 0.5))


def test_two_ways_to_average_are_one_too_many() -> None:
    network = nn.Linear(1, 1)
    adam = torch.optim.Adam(network.parameters())
    for options in ({"ema": 0.9, "ema_half_life": 10}, {"ema_half_life": -1}, {"ema_ramp_up": 0}):
        with pytest.raises(PluginError, match="ema_half_life"):
            Player(network, adam, **options)


def test_the_moving_average_in_images_resumes_exactly(tmp_path: Path) -> None:
    straight = toy_run("toy", tmp_path / "straight", task=InImages, steps=12)
    train(straight)
    train(toy_run("toy", tmp_path / "run", task=InImages, steps=5))
    resumed = again(tmp_path / "run", task=InImages, steps=12)
    assert resumed.players["G"].images == 40
    train(resumed)
    assert_same(straight, resumed)


def player_of_one_weight(**options: Any) -> type[Toy]:
    class One(Toy):
        def build(self) -> dict[str, Player]:
            self.g = nn.Linear(1, 1, bias=False)
            nn.init.constant_(self.g.weight, 1.0)
            return {"G": Player(self.g, torch.optim.SGD(self.g.parameters(), lr=0.1), **options)}

        @property
        def stages(self) -> tuple[Stage, ...]:
            return (Stage("train", (Phase("G", "G"),)),)

        def forward(self, batch: Tensor) -> None:
            return None

        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            return {"G/adv": 7 * self.g.weight.sum()}  # the gradient is 7

    return One


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, [0.3, -0.4, -1.1]),
        ({"clip_norm": 2.0}, [0.8, 0.6, 0.4]),
        ({"clip_weights": 0.5}, [0.3, -0.4, -0.5]),
        ({"schedule": lambda step: 1 / (step + 1)}, [0.3, -0.05, -0.05 - 0.7 / 3]),
    ],
)
def test_clipping_and_schedules(options: dict[str, Any], weights: list[float]) -> None:
    run = toy_run(task=player_of_one_weight(**options))
    seen = []
    for index in range(3):
        play_step(run, run.stages[0], index)
        run.step += 1
        seen.append(float(run.players["G"].module.weight.detach()))
    assert seen == pytest.approx(weights, abs=1e-5)


class Poisoned(Toy):
    """Becomes bad at step 7, in the way that ``how`` says."""

    how = "loss"

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        losses = super().loss(phase, batch, shared)
        if self.run.step == 6 and phase == "D":
            weight = self.d[0].weight
            poison = {
                "loss": weight.sum() * float("nan"),
                # Finite itself, with an infinite slope: the root of a distance that is zero.
                "gradient": (weight.sum() * 0).abs().sqrt(),
            }
            losses["D/poison"] = poison[self.how]
        return losses


@pytest.mark.parametrize("how", ["loss", "gradient"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_nan_stops_the_run_and_names_phase_and_step(
    how: str, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a GPU, where the flag is only read when something is logged: the first bad place is still named.
    monkeypatch.setattr(mmgan.Device, "asynchronous", property(lambda self: asynchronous))
    monkeypatch.setattr(Poisoned, "how", how)
    run = toy_run(task=Poisoned, steps=40, log_every=10)
    with pytest.raises(
        DivergedError, match=f"The {how} of phase 'D' became NaN or infinite at step 7"
    ) as caught:
        train(run)
    assert caught.value.exit_code == 6
    assert run.step == (10 if asynchronous else 7)


def test_what_is_not_finite_is_never_saved(tmp_path: Any) -> None:
    run = toy_run(folder=tmp_path / "run")
    with torch.no_grad():
        run.players["D"].module[0].weight[0, 0] = float("inf")
    with pytest.raises(DivergedError, match=r"'0.weight' of player 'D' is NaN or infinite"):
        run.save()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_sampling_and_evaluating_do_not_change_what_is_learned() -> None:
    quiet = toy_run(steps=12, sample_every=0)
    busy = toy_run(steps=12, sample_every=1, evaluate_every=2)
    train(quiet)
    train(busy)
    assert_same(quiet, busy)


def test_samples_are_the_same_for_the_same_seed_and_networks_return_to_their_mode() -> None:
    run = toy_run(ema=0.0)
    run.players["G"].module[1].eval()
    one, two, other = run.sample(5), run.sample(5), run.sample(5, seed=9)
    assert torch.equal(one.points, two.points)
    assert not torch.equal(one.points, other.points)
    assert run.players["G"].module.training
    assert not run.players["G"].module[1].training


def test_a_signal_stops_after_the_present_step() -> None:
    class Stopper:
        @hookimpl
        def after_step(self, run: mmgan.Run, step: int) -> None:
            if step == 5:
                run.stop_signal = 15

    run = toy_run("toy", None, Stopper())
    report = train(run)
    assert (report.state, report.step, report.signal) == ("interrupted", 5, 15)


def test_an_own_step_takes_the_place_of_the_engine_s() -> None:
    class Own(Toy):
        def step(self, run: mmgan.Run, stage: Stage, index: int) -> dict[str, Tensor]:
            batch = run.next_batch()
            return update(run, Phase("D", "D"), batch, self.forward(batch))

    run = toy_run(task=Own, steps=3)
    before = snapshot(run)
    train(run)
    assert changed(before, run) == {"D"}


def test_each_player_has_its_own_scaler_under_fp16() -> None:
    class Overflowing(Toy):
        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            losses = super().loss(phase, batch, shared)
            if phase == "D" and self.run.step == 2:
                losses = {"D/adv": losses["D/adv"] * 1e35}  # finite, but not once it is scaled
            return losses

    run = toy_run(task=Overflowing, steps=4, precision="fp16")
    assert run.precision.scaler("D").get_scale() == 65536
    before = None
    for index in range(4):
        if index == 2:
            before = snapshot(run)
        play_step(run, run.stages[0], index)
        run.step += 1
        if index == 2:
            assert before is not None
            assert changed(before, run) == {"G"}, "D's update was skipped"
    assert run.precision.scaler("D").get_scale() == 32768
    assert run.precision.scaler("G").get_scale() == 65536


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns(precision: str) -> None:
    run = toy_run("toy-wgan", steps=200, precision=precision)
    start = run.evaluate()["distance"]
    train(run)
    assert run.evaluate()["distance"] < 0.6 * start


def test_grad_is_the_gradient_and_can_be_differentiated_again() -> None:
    run = toy_run()
    weight = torch.randn(3, requires_grad=True)
    inputs = torch.randn(4, 3, requires_grad=True)
    outputs, gradient = run.grad(lambda x: x**2 @ weight, inputs)
    torch.testing.assert_close(outputs, inputs**2 @ weight)
    torch.testing.assert_close(gradient, 2 * inputs * weight)
    (second,) = torch.autograd.grad(gradient.sum(), weight)
    torch.testing.assert_close(second, 2 * inputs.sum(0))


def penalty_gradient(precision: str, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    run = toy_run(precision=precision)
    torch.manual_seed(1)
    critic.zero_grad()
    with run.precision.autocast():
        loss = 10 * penalty("wgan-gp", run, critic, real, fake)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in critic.parameters() if p.grad is not None])


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.99), ("fp16", 0.999999)])
def test_a_penalty_s_gradient_keeps_its_direction(precision: str, least: float) -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(
        nn.Conv2d(3, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128 * 16, 1),
    )  # fmt: skip
    real, fake = torch.rand(16, 3, 32, 32), torch.rand(16, 3, 32, 32)
    exact = penalty_gradient("fp32", critic, real, fake)
    rough = penalty_gradient(precision, critic, real, fake)
    assert torch.cosine_similarity(exact, rough, dim=0) > least


def test_a_config_may_not_ask_for_more_than_the_stages_have() -> None:
    class Short(Toy):
        @property
        def stages(self) -> tuple[Stage, ...]:
            return (Stage("only", (Phase("D", "D"),), steps=3),)

    with pytest.raises(ConfigError, match="more than the stages have: 3"):
        toy_run(task=Short, steps=5)
    assert train(toy_run(task=Short, steps=3)).state == "finished"


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (Phase("D", "E"), "Phase 'D' of stage 'train' of toy is of the player 'E'"),
        (Phase("D", "D", every=0), "every and repeat must be at least 1"),
    ],
)
def test_a_phase_that_can_t_be_played_is_the_plugin_s_mistake(phase: Phase, message: str) -> None:
    class Wrong(Toy):
        @property
        def stages(self) -> tuple[Stage, ...]:
            return (Stage("train", (phase,)),)

    with pytest.raises(mmgan.PluginError, match=message):
        toy_run(task=Wrong)


def test_a_task_without_metrics_says_so_at_the_start() -> None:
    class Plain(Toy):
        evaluate = mmgan.Task.evaluate
        interpolate = mmgan.Task.interpolate

    with pytest.raises(mmgan.UsageError, match="toy has no metrics"):
        toy_run(task=Plain, evaluate_every=5)
    run = toy_run(task=Plain)
    with pytest.raises(mmgan.UsageError, match="toy has no metrics"):
        run.evaluate()
    with pytest.raises(mmgan.UsageError, match="has no walk"):
        run.interpolate(4)


def test_the_first_error_is_the_one_that_is_raised() -> None:
    class Clumsy:
        @hookimpl
        def on_run_error(self) -> None:
            raise ValueError("clumsy")

    with pytest.raises(DivergedError) as caught:
        train(toy_run("toy", None, Clumsy(), task=Poisoned))
    assert any("clumsy" in note for note in caught.value.__notes__)


def test_a_gradient_that_no_loss_scale_can_save_stops_the_run_too() -> None:
    class Infinite(Toy):
        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            losses = super().loss(phase, batch, shared)
            if phase == "D":
                losses["D/poison"] = (self.d[0].weight.sum() * 0).abs().sqrt()
            return losses

    run = toy_run(task=Infinite, precision="fp16", steps=100, log_every=5)
    with pytest.raises(DivergedError, match="gradient of player 'D' is NaN or infinite even at a loss scale"):
        train(run)


def test_half_precision_fakes_have_a_float32_penalty() -> None:
    run = toy_run(precision="fp16")
    inputs = torch.ones(4, 3, dtype=torch.float16, requires_grad=True)
    weight = torch.full((3,), 1e5, requires_grad=True)
    with run.precision.autocast():
        _, gradient = run.grad(lambda x: x @ weight, inputs)
    assert gradient.dtype == torch.float32
    assert torch.equal(gradient, torch.full((4, 3), 1e5)), "1e5 is too much for fp16"


def test_sparse_gradients_train() -> None:
    class Sparse(Toy):
        def build(self) -> dict[str, Player]:
            players = super().build()
            self.table = nn.Embedding(10, 2, sparse=True)
            optimizer = torch.optim.SparseAdam(self.table.parameters(), 1e-2)
            return {"G": players["G"], "D": Player(self.table, optimizer)}

        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            if phase == "G":
                return {"G/adv": shared.square().mean()}
            return {"D/adv": self.table(torch.tensor([1, 2])).square().mean()}

    assert train(toy_run(task=Sparse, steps=3)).state == "finished"


def test_compile_takes_the_networks_that_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, backend: compiled.append(self))
    run = toy_run("toy-cycle", compile=True)
    g, d = run.players["G"].module, run.players["D"].module
    assert compiled == [*g.values(), *d.values()], "each network of a dict, which is never called itself"

    class Penalised(Toy):
        def build(self) -> dict[str, Player]:
            players = super().build()
            players["D"].compile = False
            return players

    compiled.clear()
    run = toy_run(task=Penalised, compile=True)
    assert compiled == [run.players["G"].module]


def test_what_can_t_be_compiled_is_computed_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def inductor(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        raise RuntimeError("no working C++ compiler\nand much more")

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: inductor)
    monkeypatch.setattr(torch._dynamo.config, "suppress_errors", False)
    torch._dynamo.reset()
    plain, run = toy_run(steps=3), toy_run(steps=3, compile=True)
    train(plain)
    with pytest.warns(UserWarning, match=r"[GD] can't be compiled here .*: no working C\+\+ compiler$"):
        train(run)
    torch._dynamo.reset()
    pairs = zip(run.task.g.parameters(), plain.task.g.parameters(), strict=True)
    for one, two in pairs:
        torch.testing.assert_close(one, two)
