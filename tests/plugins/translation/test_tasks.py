"""The games of pix2pix and CycleGAN: each step is the paper's, and both learn to translate digits."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import mmgan
from mmgan.cli import main
from mmgan.config import check
from mmgan.engine import play_step, train
from mmgan.plugins import Plugins
from mmgan_translation.game import per_picture, strips

TINY: dict[str, Any] = {
    "width": 4, "d_width": 4, "d_layers": 1, "device": "cpu", "precision": "fp32", "tensorboard": False,
}  # fmt: skip


def make(plugin: str, folder: Path | None = None, **settings: Any) -> mmgan.Run:
    plugins = Plugins()
    config = check(plugins.task(plugin).Config, {"plugin": plugin} | TINY | settings)
    return mmgan.new_run(config, plugins, folder)


class Silent(nn.Module):
    """A discriminator that gives no score."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures[:, :1] * 0


# Losses and order.


def test_pix2pix_s_losses_at_zero_scores() -> None:
    """D's binary cross-entropy is halved: log 2 = .693, and so is G's; L1 has a weight of 100."""
    run = make("pix2pix")
    run.task.d = Silent()
    pair = run.next_batch()
    fake = pair[1] - 0.25
    assert float(run.task.loss("D", pair, fake)["D/adv"]) == pytest.approx(0.6931, abs=1e-4)
    losses = run.task.loss("G", pair, fake)
    assert float(losses["G/adv"]) == pytest.approx(0.6931, abs=1e-4)
    assert float(losses["G/l1"]) == pytest.approx(25)


def test_cyclegan_s_losses_at_zero_scores() -> None:
    """LSGAN with D = 0: each D .5, each G 1; the cycle has a weight of 10, the identity half of that."""
    run = make("cyclegan")
    run.task.d = nn.ModuleDict({"A": Silent(), "B": Silent()})
    a, b = run.next_batch()
    made = run.task.forward((a, b))._replace(back_a=a + 0.1, back_b=b + 0.2, same_a=a - 0.3, same_b=b)
    losses = run.task.loss("D", (a, b), made)
    assert {name: float(loss.detach()) for name, loss in losses.items()} == {"D/A_adv": 0.5, "D/B_adv": 0.5}
    losses = run.task.loss("G", (a, b), made)
    assert {name: float(loss.detach()) for name, loss in losses.items()} == pytest.approx(
        {"G/AtoB": 1, "G/BtoA": 1, "G/cycle": 3, "G/identity": 1.5}
    )


def test_pix2pix_s_step_is_the_paper_s() -> None:
    """Fake once; D on the pairs, halved; then G by the new D, through the same fake, and by L1."""
    run = make("pix2pix", dropout="none", lr_constant=1, lr_decay=0)
    g, d = copy.deepcopy(run.task.g), copy.deepcopy(run.task.d)
    opt_g, opt_d = (torch.optim.Adam(m.parameters(), 2e-4, (0.5, 0.999)) for m in (g, d))
    a, b = run.loader.dataset.training(torch.arange(16))
    run.next_batch = lambda: (a, b)  # type: ignore[method-assign]
    for _ in range(2):
        play_step(run, run.stages[0], 0)
        fake = g(a)
        real_scores, fake_scores = d(torch.cat([a, b], 1)), d(torch.cat([a, fake.detach()], 1))
        opt_d.zero_grad()
        ((F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()) / 2).backward()
        opt_d.step()
        opt_g.zero_grad()
        (F.softplus(-d(torch.cat([a, fake], 1))).mean() + 100 * F.l1_loss(fake, b)).backward()
        opt_g.step()
    for mine, by_hand in ((run.task.g, g), (run.task.d, d)):
        for one, other in zip(mine.parameters(), by_hand.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_cyclegan_s_step_is_the_paper_s() -> None:
    """Both generators by one Adam first, then both discriminators; each picture passes by itself here."""
    run = make("cyclegan", lr_constant=1, lr_decay=0, batch_size=2, pool=0)
    g, d = copy.deepcopy(run.task.g), copy.deepcopy(run.task.d)
    opt_g, opt_d = (torch.optim.Adam(m.parameters(), 2e-4, (0.5, 0.999)) for m in (g, d))
    data = run.loader.dataset
    a, b = data.training_a(torch.arange(2)), data.training_b(torch.arange(2))
    run.next_batch = lambda: (a, b)  # type: ignore[method-assign]
    for _ in range(2):
        play_step(run, run.stages[0], 0)
        fake_b, fake_a = g["AtoB"](a), g["BtoA"](b)
        cycle = F.l1_loss(g["BtoA"](fake_b), a) + F.l1_loss(g["AtoB"](fake_a), b)
        same = F.l1_loss(g["BtoA"](a), a) + F.l1_loss(g["AtoB"](b), b)
        adversarial = (d["B"](fake_b) - 1).square().mean() + (d["A"](fake_a) - 1).square().mean()
        opt_g.zero_grad()
        (adversarial + 10 * cycle + 5 * same).backward()
        opt_g.step()
        opt_d.zero_grad()
        for judge, real, fake in ((d["A"], a, fake_a), (d["B"], b, fake_b)):
            scores = (judge(real) - 1).square().mean() + judge(fake.detach()).square().mean()
            (scores / 2).backward()
        opt_d.step()
    for mine, by_hand in ((run.task.g, g), (run.task.d, d)):
        for (name, one), other in zip(mine.named_parameters(), by_hand.parameters(), strict=True):
            # A bias before instance norm has no effect, and Adam makes much of its gradient's rounding.
            if name.endswith("weight"):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_sets_pass_together_only_where_that_changes_nothing(norm: str) -> None:
    run = make("cyclegan", norm=norm)
    network = run.task.d["B"].double()
    one, other = torch.randn(2, 2, 3, 32, 32, dtype=torch.float64)
    for mine, alone in zip(
        run.task.together(network, one, other), (network(one), network(other)), strict=True
    ):
        torch.testing.assert_close(mine, alone)


def test_d_sees_pictures_of_earlier_steps() -> None:
    run = make("cyclegan", pool=8, batch_size=4)
    for index in range(4):
        play_step(run, run.stages[0], index)
    assert [len(pool.pictures) for pool in (run.task.pool_a, run.task.pool_b)] == [8, 8]
    assert run.task.state_dict()["pool_b"]["pictures"].shape == (8, 3, 32, 32)


def test_learning_rates_fall() -> None:
    run = make("pix2pix", steps=4, lr_constant=2, lr_decay=2)
    rates = []

    class Watch:
        @mmgan.hookimpl
        def after_step(self, run: mmgan.Run) -> None:
            rates.append([player.optimizer.param_groups[0]["lr"] for player in run.players.values()])

    run.plugins.attach([Watch()])
    train(run)
    assert rates == pytest.approx(np.array([[1, 1], [1, 1], [2 / 3, 2 / 3], [1 / 3, 1 / 3]]) * 2e-4)


@pytest.mark.parametrize("plugin", ["pix2pix", "cyclegan"])
@pytest.mark.parametrize(
    "objective",
    [
        {"loss": "lsgan"},
        {"loss": "nonsaturating", "smoothing": 0.1},
        {"loss": "hinge", "discriminator": "pixel"},
        {"loss": "wgan", "penalty": "wgan-gp", "critic_steps": 2},
        {"loss": "ragan", "penalty": "r1", "penalty_weight": 1.0, "norm": "none"},
    ],
)
def test_every_objective_plays(plugin: str, objective: dict[str, Any]) -> None:
    run = make(plugin, batch_size=2, **objective)
    losses = {}
    for index in range(2):
        losses = play_step(run, run.stages[0], index)
    assert all(bool(loss.isfinite()) for loss in losses.values())
    assert ("D/penalty" in losses or "D/A_penalty" in losses) == ("penalty" in objective)


def test_a_penalty_is_of_whole_pictures() -> None:
    """The mean of a picture's patches is one score: its gradient has a linear critic's norm."""
    run = make("pix2pix", loss="wgan", penalty="wgan-gp", norm="none", d_layers=1)
    judge = per_picture(lambda pictures: (pictures * 3)[:, :, ::2, ::2])
    _, gradient = run.grad(judge, torch.randn(4, 1, 32, 32, requires_grad=True))
    assert float(gradient[0].norm()) == pytest.approx(3 / 16)  # 256 scores with a weight of 3/256 each


def test_pix2pix_translates_in_the_direction_that_is_set(tmp_path: Path) -> None:
    pairs(tmp_path / "pairs", 6)
    run = make("pix2pix", data=str(tmp_path / "pairs"), size=16, load_size=16, direction="BtoA", flip=False)
    source, target = run.task.oriented(run.next_batch())
    assert source.mean() < 0 < target.mean()  # A is bright, B is dark
    assert run.task.directions == ("BtoA",)


def pairs(folder: Path, count: int, size: int = 32) -> None:
    """Pictures side by side: A is bright noise, B is A's negative."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        a = random.integers(150, 250, (size, size, 3), dtype=np.uint8)
        Image.fromarray(np.hstack([a, 255 - a])).save(folder / f"{number}.png")


# Learning.


@pytest.mark.slow
def test_pix2pix_learns_digits_from_their_edges() -> None:
    torch.manual_seed(0)
    run = make("pix2pix", steps=150, width=16, d_width=8, lr=1e-3, dropout="none")
    before = run.evaluate(64)
    train(run)
    after = run.evaluate(64)
    # Within seconds better than what needs no learning: one grey for all, or the nearest digit's picture.
    assert after["l1"] < 0.5 * before["l1"]
    assert after["l1"] < 0.8 * min(after["l1_of_mean"], after["l1_of_nearest"], after["l1_of_input"])
    assert after["psnr"] > before["psnr"] + 5
    assert after["ssim"] > before["ssim"] + 0.2


@pytest.mark.slow
def test_cyclegan_learns_the_other_side_s_colours() -> None:
    """Ink on paper from white on black, with no pair to see; and what comes back is what went."""
    run = make("cyclegan", steps=80, batch_size=2, width=8, d_width=8, blocks=1, lr=1e-3)

    def distance() -> float:
        """Between the mean colours of the translations and of B."""
        a, b = run.task.validation(64)
        made = run.aside(lambda: run.task.translate(a, "AtoB"), 0)
        return float((made.mean((0, 2, 3)) - b.mean((0, 2, 3))).abs().mean())

    before, cycle = distance(), run.evaluate(140)["cycle_l1_a"]
    train(run)
    assert distance() < 0.3 * before
    assert run.evaluate(140)["cycle_l1_a"] < 0.5 * cycle


# Samples, scores, use.


def test_strips_show_input_output_and_target() -> None:
    run = make("pix2pix", width=2)
    samples = run.sample(3)
    assert samples.images.shape == (3, 1, 32, 96)
    a, b = run.task.validation(3)
    torch.testing.assert_close(samples.images[..., :32], a)
    torch.testing.assert_close(samples.images[..., 64:], b)
    # No more than the validation part has, and the same ones each time.
    with pytest.warns(UserWarning, match="1000 were asked for"):
        assert len(run.sample(1000)) == run.dataset.validation_count
    assert torch.equal(run.sample(3).images, samples.images)
    assert not torch.equal(run.sample(3, seed=1).images, samples.images)  # dropout is the noise


def test_strips_of_a_cycle() -> None:
    run = make("cyclegan", width=2, blocks=1)
    assert run.sample(2).images.shape == (2, 3, 32, 6 * 32)


def test_grey_and_coloured_columns_stand_side_by_side() -> None:
    samples = strips(torch.zeros(2, 1, 4, 4), torch.ones(2, 3, 4, 4))
    assert samples.images.shape == (2, 3, 4, 8)


def test_inpainting_shows_the_hole() -> None:
    run = make("pix2pix", derive="inpaint", width=2)
    assert run.task.input_channels == 2
    assert run.sample(2).images.shape == (2, 1, 32, 96)


def test_cyclegan_s_scores() -> None:
    scores = make("cyclegan", width=2, blocks=1).evaluate(140)
    assert {"cycle_l1_a", "cycle_l1_b", "AtoB_coverage_random", "BtoA_frechet_random"} < set(scores)
    both = (scores["AtoB_kernel_random"] + scores["BtoA_kernel_random"]) / 2
    assert scores["kernel_random"] == pytest.approx(both)


def test_too_few_pictures_for_a_distance_are_said() -> None:
    run = make("cyclegan", width=2, blocks=1)
    with pytest.warns(UserWarning, match="_frechet_random is left out: .* at least 129"):
        scores = run.evaluate(20)
    assert {run.task.best_score, "AtoB_recall_random", "BtoA_kernel_random"} < set(scores)
    assert not any("frechet" in name for name in scores)
    with pytest.warns(UserWarning, match="is left out: .* at least") as caught:
        assert set(run.evaluate(1)) == {"cycle_l1_a", "cycle_l1_b"}
    assert any(str(warning.message).startswith("kernel_random is left out: ") for warning in caught)


def test_a_picture_s_translation_does_not_depend_on_those_beside_it() -> None:
    run = make("pix2pix", batch_size=1, dropout="none")
    a, _ = run.task.validation(4)
    together = run.aside(lambda: run.task.translate(a, "AtoB"), 0)
    alone = run.aside(lambda: run.task.translate(a[2:3], "AtoB"), 0)
    torch.testing.assert_close(together[2:3], alone)


def test_from_a_folder_of_pairs_to_translated_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands as a person types them."""
    pairs(tmp_path / "pairs", 12)
    run, small = tmp_path / "run", ["--set", "width=4", "--set", "d_width=4", "--set", "d_layers=1"]
    sizes = ["--set", "size=32", "--steps", "6", "--set", "tensorboard=false", "--set", "evaluate_every=6"]
    command = ["run", "--plugin", "pix2pix", "--data", str(tmp_path / "pairs"), "--out", str(run)]
    assert main([*command, *small, *sizes]) == 0
    assert (run / "samples/step-000006.png").exists()
    assert (run / "checkpoints/best.json").exists()
    photo = tmp_path / "my photo.png"
    Image.new("RGB", (50, 41), "red").save(photo)
    capsys.readouterr()
    assert main(["translate", str(run), str(photo), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'my photo.png'}\n"
    with Image.open(tmp_path / "out/my photo.png") as result:
        assert result.size == (50, 41)
    for command in ("sample", "evaluate", "resume"):
        more = ["--steps", "8"] if command == "resume" else ["-n", "1"]
        assert main([command, str(run), *more]) == 0, capsys.readouterr().err


def test_two_folders_and_both_directions(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for side, count in itertools.product(("trainA", "trainB"), range(6)):
        (tmp_path / "data" / side).mkdir(parents=True, exist_ok=True)
        picture = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / "data" / side / f"{side}{count}.png")
    run = tmp_path / "run"
    sets = ["width=2", "d_width=2", "d_layers=1", "blocks=1", "size=32", "tensorboard=false"]
    words = [word for setting in sets for word in ("--set", setting)]
    command = ["run", "--plugin", "cyclegan", "--data", str(tmp_path / "data"), "--out", str(run)]
    assert main([*command, "--steps", "3", *words]) == 0
    for direction, source in (("AtoB", "trainA"), ("BtoA", "trainB")):
        out = tmp_path / direction
        words = [str(run), str(tmp_path / "data" / source), "--out", str(out), "--direction", direction]
        assert main(["translate", *words]) == 0
        assert len(list(out.glob("*.png"))) == 6


# What makes a step fast changes nothing that matters.


def gradient(run: mmgan.Run, phase: str, batch: Any) -> torch.Tensor:
    """The whole gradient of a phase's player."""
    torch.manual_seed(0)
    with run.precision.autocast():
        losses = run.task.loss(phase, batch, run.task.forward(batch))
    parameters = [p for p in run.players[phase].module.parameters() if p.ndim > 1]
    gradients = torch.autograd.grad(sum(losses.values()), parameters)
    return torch.cat([g.flatten().float() for g in gradients])


@pytest.mark.parametrize(
    ("plugin", "phase", "least"),
    [
        ("pix2pix", "D", 0.99),
        ("pix2pix", "G", 0.99),
        ("cyclegan", "D", 0.99),
        # Through two generators, normalised layer by layer, some ReLUs of a cycle change sides.
        ("cyclegan", "G", 0.9),
    ],
)
def test_bf16_keeps_the_gradient_s_direction(plugin: str, phase: str, least: float) -> None:
    # Wide enough that single roundings average out, as in networks of the papers' width.
    settings = {"width": 16, "d_width": 16, "batch_size": 4, "dropout": "none"}
    full, half = (make(plugin, precision=precision, **settings) for precision in ("fp32", "bf16"))
    batch = full.next_batch()
    cosine = F.cosine_similarity(gradient(full, phase, batch), gradient(half, phase, batch), dim=0)
    assert float(cosine) > least
