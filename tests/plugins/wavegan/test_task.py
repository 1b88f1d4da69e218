"""WaveGAN's game: its step is the paper's, every option trains, and it learns to drum."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F

import mmgan
from mmgan.cli import main
from mmgan.config import check, resolve
from mmgan.engine import play_step, playing, train
from mmgan.losses import gradient_penalty
from mmgan.plugins import Plugins
from mmgan_wavegan.config import WaveGANConfig

SMALL = {
    "data": "drums:40", "dim": 2, "latent": 8, "batch_size": 4, "device": "cpu", "precision": "fp32",
    "tensorboard": False,
}  # fmt: skip


def wavegan_run(folder: Path | None = None, **settings: Any) -> mmgan.Run:
    config = check(WaveGANConfig, {"plugin": "wavegan"} | SMALL | settings)
    return mmgan.new_run(config, Plugins(), folder)


def write_sounds(folder: Path, count: int = 12) -> None:
    """Write decaying tones in two subfolders, in different formats and rates."""
    rng = np.random.default_rng(0)
    for number in range(count):
        rate = (8_000, 22_050, 44_100)[number % 3]
        time = np.arange(rate // 2) / rate
        tone = np.sin(2 * np.pi * rng.uniform(100, 2_000) * time) * np.exp(-8 * time)
        path = folder / ("low" if number % 2 else "hïgh tönes") / f"{number} 鼓.{('wav', 'flac')[number % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.5 * tone, rate)


@pytest.mark.slow
def test_the_command_of_the_first_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of sounds in, a run's folder, WAVs and scores out."""
    write_sounds(tmp_path / "my sounds")
    (tmp_path / "my sounds" / "empty.wav").touch()

    def call(*arguments: object) -> str:
        code = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        talk.append(err)
        return out

    talk: list[str] = []
    out = tmp_path / "run"
    settings = ["--set", "dim=2", "--set", "critic_steps=1", "--set", "sample_every=2"]
    options = ["--steps", "4", "--batch-size", "4", *settings]
    call("run", "--plugin", "wavegan", "--data", tmp_path / "my sounds", "--out", out, *options)
    assert "12 sounds" in talk[-1]
    assert "empty.wav" in talk[-1]
    assert sorted(path.name for path in (out / "samples").iterdir()) == [
        "step-000002.png", "step-000002.wav", "step-000004.png", "step-000004.wav",
    ]  # fmt: skip
    info = soundfile.info(out / "samples" / "step-000004.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")

    files = call("sample", out, "-n", "3", "--seed", "5", "--out", tmp_path / "one").splitlines()
    again = call("sample", out, "-n", "3", "--seed", "5", "--out", tmp_path / "two").splitlines()
    assert [Path(file).read_bytes() for file in files] == [Path(file).read_bytes() for file in again]
    assert [Path(file).name for file in files] == [
        *(f"000{n}.wav" for n in range(3)),
        "samples.wav",
        "samples.png",
    ]
    assert soundfile.info(tmp_path / "one" / "0002.wav").frames == 16_384
    walk = call("sample", out, "-n", "8", "--interpolate", "--out", tmp_path / "walk").splitlines()
    assert str(tmp_path / "walk" / "walk.wav") in walk
    call("resume", out, "--steps", "6")
    # Twelve sounds are too few for a Fréchet distance, which says so; the other scores are there.
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        found = json.loads(call("evaluate", out, "--json"))["scores"]
    assert {"spectrum_distance_db", "diversity_logmel", "precision_logmel"} <= set(found)
    assert "frechet_logmel" not in found
    assert "frechet_logmel is left out: The Fréchet distance in 128" in talk[-1]


@pytest.mark.slow
def test_scores_on_the_drums() -> None:
    run = wavegan_run(data="drums:140")
    scores = run.evaluate(140)
    assert {"frechet_logmel", "spectrum_distance_db", "copied_logmel", "diversity_logmel"} <= set(scores)
    assert run.task.best_score in scores
    assert all(np.isfinite(value) for value in scores.values())


def test_too_few_sounds_for_evaluations_are_found_at_the_start() -> None:
    with pytest.raises(mmgan.ConfigError, match="needs more than 128 sounds, and the data has 40"):
        wavegan_run(evaluate_every=10)


def test_a_step_is_the_paper_s() -> None:
    """Five critic updates and one of G, written by hand with torch's own functions."""
    run = wavegan_run(phase_shuffle=0, lr=1e-4)
    for layer in run.players["D"].module.layers:
        # At first they are 0, and rounding would decide on which side of LeakyReLU's edge silence falls.
        torch.nn.init.normal_(layer.bias, std=0.1)
    g, d = copy.deepcopy(run.players["G"].module), copy.deepcopy(run.players["D"].module)
    batches = wavegan_run().loader

    def generator(z: Tensor) -> Tensor:
        x = F.relu(g.dense(z)).view(len(z), 16, -1).transpose(1, 2)
        for number, layer in enumerate(g.layers):
            x = F.conv_transpose1d(x, layer.weight.permute(2, 1, 0), layer.bias, 4, 11, 1)
            x = torch.tanh(x) if number == 4 else F.relu(x)
        return x

    def critic(x: Tensor) -> Tensor:
        for layer in d.layers:
            x = F.leaky_relu(F.conv1d(x, layer.weight.permute(2, 1, 0), layer.bias, 4, 11), 0.2)
        return d.dense(x.transpose(1, 2).flatten(1))

    opt_g = torch.optim.Adam(g.parameters(), 1e-4, (0.5, 0.9))
    opt_d = torch.optim.Adam(d.parameters(), 1e-4, (0.5, 0.9))
    with playing(run):
        before = torch.get_rng_state()
        losses = play_step(run, run.stages[0], 0)
        torch.set_rng_state(before)
        for _ in range(5):
            real = next(batches)
            fake = generator(torch.rand(4, 8) * 2 - 1).detach()
            d.zero_grad()
            adversarial = critic(fake).mean() - critic(real).mean()
            alpha = torch.rand(4, 1, 1)
            hat = (alpha * real + (1 - alpha) * fake).requires_grad_()
            (gradient,) = torch.autograd.grad(critic(hat).sum(), hat, create_graph=True)
            penalty = 10 * gradient_penalty(gradient)
            (adversarial + penalty).backward()
            opt_d.step()
        g.zero_grad()
        # By fakes that the critic has not just learned from.
        loss_g = -critic(generator(torch.rand(4, 8) * 2 - 1)).mean()
        loss_g.backward()
        opt_g.step()
    assert losses["D/penalty"].item() == pytest.approx(penalty.item(), rel=1e-3)
    assert losses["D/adv"].item() == pytest.approx(adversarial.item(), rel=1e-3, abs=1e-5)
    assert losses["G/adv"].item() == pytest.approx(loss_g.item(), rel=1e-3, abs=1e-5)
    for ours, theirs in ((run.players["G"].module, g), (run.players["D"].module, d)):
        for key, value in theirs.state_dict().items():
            if theirs is d and key.endswith("bias"):
                # What real and fake sounds say of it may cancel, and Adam makes a step of what rounding left.
                continue
            # Adam's first steps are of size lr whatever the gradient, so rounding may show as a share of lr.
            torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-3, atol=3e-5, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "hinge", "penalty": "r1"},
        {"loss": "ragan", "penalty": "none", "critic_steps": 1},
        {"loss": "wgan", "penalty": "none", "clip_weights": 0.01},
        {"precision": "bf16", "ema": 0.9},
        {"channels": 2, "shuffle_each": "sample", "upsampling": "nearest"},
        {"length": 32_768, "post_filter": 64, "kernel": 9},
    ],
)
def test_every_option_trains(settings: dict[str, Any]) -> None:
    run = wavegan_run(steps=2, sample_every=0, **settings)
    assert train(run).state == "finished"
    assert run.sample(2).waveforms.shape == (2, settings.get("channels", 1), settings.get("length", 16_384))


def test_defaults_are_the_paper_s_and_smaller_for_the_drums() -> None:
    def settings(**flags: str) -> WaveGANConfig:
        return resolve(WaveGANConfig, "wavegan", flags=flags, environment={})

    paper = settings(data="a/folder")
    assert (paper.dim, paper.batch_size, paper.latent, paper.kernel, paper.phase_shuffle) == (
        64,
        64,
        100,
        25,
        2,
    )
    assert (paper.loss, paper.penalty, paper.penalty_weight, paper.critic_steps) == ("wgan", "wgan-gp", 10, 5)
    assert (paper.lr, paper.betas, paper.ema) == (1e-4, (0.5, 0.9), 0.999)
    assert (settings().dim, settings().batch_size, settings().lr) == (16, 32, 6e-4)
    assert (settings(data="drums:100").dim, settings(dim="64").dim) == (16, 64)
    for given, message in (
        ({"kernel": "24"}, "kernel = 24: It must be odd, such as 25"),
        ({"length": "20000"}, "length = 20000: Input should be 16384, 32768 or 65536"),
    ):
        with pytest.raises(mmgan.ConfigError, match=message):
            settings(**given)


def test_latents_are_uniform_and_a_walk_stays_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    run = wavegan_run(latent=20)
    z = run.task.latents(2_000)
    assert z.min() >= -1
    assert z.max() <= 1
    assert float(z.std()) == pytest.approx(1 / 3**0.5, rel=0.02)
    walked: list[Tensor] = []
    generate = run.task.generate
    monkeypatch.setattr(run.task, "generate", lambda z: generate(walked.append(z) or z))
    assert run.interpolate(32).waveforms.shape == (32, 1, 16_384)
    (walk,) = walked
    assert walk.abs().max() <= 1
    steps = (walk - walk.roll(1, 0)).norm(dim=1)
    assert steps.max() < 4 * steps.mean(), "the last sound leads back to the first"


@pytest.mark.slow
def test_samples_need_no_data(tmp_path: Path) -> None:
    write_sounds(tmp_path / "sounds", 4)
    run = wavegan_run(tmp_path / "run", data=str(tmp_path / "sounds"), steps=1, critic_steps=1)
    train(run)
    assert run.sample(2).real is not None
    (tmp_path / "sounds").rename(tmp_path / "elsewhere")
    again = mmgan.load_run(tmp_path / "run")
    samples = again.sample(2)
    assert samples.real is None
    assert torch.equal(samples.waveforms, run.sample(2).waveforms)


@pytest.mark.parametrize(
    ("settings", "full"),
    [({}, True), ({"normalize": "none"}, False), ({"slice": "crops", "length": 16_384}, False)],
)
def test_samples_are_as_loud_as_the_data(
    settings: dict[str, Any], full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each sound of the data has full scale, the generated ones have it, but for silence."""
    run = wavegan_run(channels=2, **settings)
    torch.manual_seed(0)
    soft = torch.rand(4, 2, 16_384) - 0.5
    soft[1] *= 1e-3
    soft[3] = 0
    monkeypatch.setattr(run.task, "generate", lambda z: soft[: len(z)].clone())
    for samples in (run.sample(4), run.interpolate(4)):
        peaks = samples.waveforms.abs().amax((1, 2))
        if full:
            torch.testing.assert_close(peaks[[0, 2]], torch.ones(2))
            assert 3e-4 < peaks[1] < 6e-4
            assert peaks[3] == 0
            # But for what is too low to be heard, the shape stays, that of the two channels together.
            one, other = samples.waveforms[0].flatten(), soft[0].flatten()
            assert F.cosine_similarity(one, other, dim=0) > 0.99
        else:
            same = F.cosine_similarity(samples.waveforms[:3].flatten(1), soft[:3].flatten(1))
            assert same.min() > 0.99
            assert peaks.max() < 0.6, "no louder than G made it"
    if full:
        assert run.sample(4).real.abs().amax((1, 2)).min() > 0.999


def test_samples_have_no_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A soft hit over a constant: the hit is raised to full scale, the constant is not."""
    run = wavegan_run()
    time = torch.arange(16_384) / 16_000
    hit = 0.05 * torch.sin(2 * torch.pi * 200 * time) * torch.exp(-time / 0.1)
    monkeypatch.setattr(run.task, "generate", lambda z: (hit + 0.01).expand(len(z), 1, -1))
    sound = run.sample(1).waveforms[0, 0]
    assert sound.abs().max() == 1
    assert sound.mean().abs() < 0.005, "of full scale; it was 20%"
    assert sound[-100:].abs().max() < 1e-3, "and nothing is left of it at the end"
    assert F.cosine_similarity(sound, hit, dim=0) > 0.99, "nor does the offset click"


@pytest.mark.parametrize("offset", [0.009, 0.05, -0.5])
def test_constants_are_silence(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    run = wavegan_run()
    monkeypatch.setattr(run.task, "generate", lambda z: torch.full((len(z), 1, 16_384), offset))
    assert run.sample(2).waveforms.abs().max() < 1e-6


def test_crops_have_no_offset_either(monkeypatch: pytest.MonkeyPatch) -> None:
    run = wavegan_run(slice="crops")
    noise = 0.1 * torch.randn(2, 1, 16_384)
    monkeypatch.setattr(run.task, "generate", lambda z: noise[: len(z)] + 0.1)
    sounds = run.sample(2).waveforms
    assert sounds.mean(2).abs().max() < 1e-3
    assert F.cosine_similarity(sounds, noise, dim=2).min() > 0.98


def critic_gradient(run: mmgan.Run, precision: str) -> Tensor:
    """Return the critic's whole gradient on a fixed batch, fakes, shifts and interpolation."""
    twin = wavegan_run(dim=8, latent=8, precision=precision)
    for name in ("G", "D"):
        twin.players[name].module.load_state_dict(run.players[name].module.state_dict())
    torch.manual_seed(1)
    real = twin.dataset.sounds(torch.arange(8))
    with torch.no_grad():
        fake = run.players["G"].module(run.task.latents(8))
    with twin.precision.autocast():
        losses = twin.task.loss("D", real, fake)
    parameters = list(twin.players["D"].module.parameters())
    return torch.cat([g.flatten() for g in torch.autograd.grad(sum(losses.values()), parameters)])


@pytest.mark.slow
def test_in_bf16_the_critic_s_gradient_keeps_its_direction() -> None:
    """The penalty's inner gradient stays in bf16: at the start and after 200 updates that costs nothing."""
    run = wavegan_run(dim=8, batch_size=8, steps=40, sample_every=0)

    def cosine() -> float:
        one, other = critic_gradient(run, "fp32"), critic_gradient(run, "bf16")
        assert not torch.equal(one, other)
        return float(F.cosine_similarity(one, other, dim=0))

    # At this size it is 0.990 and more by AVX512-BF16, and 0.9899 by AMX, which rounds in another order.
    assert cosine() >= 0.985
    train(run)
    assert run.players["D"].updates == 200
    assert cosine() >= 0.985


@pytest.mark.slow
def test_it_learns_to_hum(tmp_path: Path) -> None:
    """The data are decaying tones of 900 to 1,100 Hz, and soon most of what is generated is near them."""
    rng, time = np.random.default_rng(0), np.arange(16_384) / 16_000
    for number in range(32):
        tone = np.sin(2 * np.pi * rng.uniform(900, 1_100) * time) * np.exp(-rng.uniform(2, 6) * time)
        soundfile.write(tmp_path / f"{number}.wav", 0.9 * tone, 16_000)
    settings = {"dim": 8, "batch_size": 8, "latent": 20, "lr": 1e-3, "ema": 0, "sample_every": 0}
    run = wavegan_run(data=str(tmp_path), steps=60, **settings)

    def share() -> float:
        power = torch.fft.rfft(run.sample(32).waveforms).abs().square().mean((0, 1))
        pitch = torch.linspace(0, 8_000, len(power))
        return float(power[(pitch > 800) & (pitch < 1_250)].sum() / power.sum())

    assert share() < 0.1
    train(run)
    assert share() > 0.6
