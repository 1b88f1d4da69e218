"""An augmentation in a run: by settings, with its p, its logs, its warning, and its state in checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import mmgan
import mmgan_dcgan
from mmgan import ConfigError, PluginError, hookimpl
from mmgan.augment import (
    Ada,
    Apa,
    Augment,
    Augmentation,
    AugmentConfig,
    Controller,
    DiffAugment,
    Diffusion,
    InstanceNoise,
    SoundAugmentConfig,
    augment_for,
    diffusion,
    resampling,
    wavelets,
)
from mmgan.augment.base import Unchanged
from mmgan.backend.device import Device
from mmgan.backend.ranks import Ranks
from mmgan.config import check
from mmgan.plugins import Plugins


class Host:
    """A run, as far as an augmentation needs one."""

    def __init__(self, *plugins: Any) -> None:
        self.device, self.ranks, self.step = Device("cpu"), Ranks(), 0
        self.plugins = Plugins(*plugins, installed=False)
        self.logged: list[tuple[str, float]] = []

    def log(self, name: str, value: Tensor | float) -> None:
        self.logged.append((name, float(value)))

    def registered(self, table: str, name: str, kind: str = "") -> Any:
        entries = self.plugins.of_kind(getattr(self.plugins, table), kind)
        return self.plugins.lookup(entries, name, table).load()


def config(augment: str, **settings: Any) -> AugmentConfig:
    return AugmentConfig(plugin="dcgan", augment=augment, **settings)


def made(augment: str, host: Host | None = None, **settings: Any) -> Augment:
    found = augment_for(config(augment, **settings), host or Host())
    assert found is not None
    return found


POSITIVE = torch.ones(50, 1)


# --- Which one ---


def test_settings_choose() -> None:
    classes = {"ada": Ada, "apa": Apa, "diffaugment": DiffAugment, "diffusion": Diffusion}
    for name, kind in (classes | {"noise": InstanceNoise}).items():
        assert type(made(name).augmentation) is kind
    plugins = Host().plugins
    assert plugins.names("augmentations", "images") == [
        *("none", "apa", "diffusion", "noise", "diffaugment", "ada")
    ]
    assert plugins.names("augmentations", "sounds") == ["none", "apa", "diffusion", "noise"]


def test_none_is_nothing() -> None:
    host = Host()
    host.registered = None  # type: ignore[assignment,method-assign]
    before = torch.get_rng_state()
    assert augment_for(config("none"), host) is None
    assert augment_for(object(), host) is None
    assert torch.equal(torch.get_rng_state(), before)
    given = torch.rand(2, 3, 4, 4)
    assert Unchanged(None).see(given, torch.tensor(1.0)) is given


def test_sounds_have_fewer() -> None:
    sounds = SoundAugmentConfig(plugin="wavegan", augment="apa")
    found = augment_for(sounds, Host())
    assert found is not None
    assert type(found.augmentation) is Apa
    with pytest.raises(PluginError, match="no augmentations 'ada'"):
        augment_for(SoundAugmentConfig(plugin="wavegan", augment="ada"), Host())


class Darker(Augmentation):
    """A stranger's."""

    adaptive = True

    def see(self, examples: Tensor, p: Tensor) -> Tensor:
        return examples - p


class Stranger:
    thing: Any = Darker

    @hookimpl
    def register_augmentations(self, register: Any) -> None:
        register("darker", self.thing, kind="images")


def test_a_stranger_s() -> None:
    found = made("darker", Host(Stranger()), augment_p=0.25, augment_policy="any text")
    assert torch.equal(found.critic(lambda x: x)(torch.ones(2)), torch.full((2,), 0.75))

    class Wrong(Stranger):
        thing = staticmethod(lambda config: 3)

    with pytest.raises(PluginError, match=r"returned 3 from the augmentation 'darker', and not a mmgan\.aug"):
        made("darker", Host(Wrong()))

    class Kindless:
        @hookimpl
        def register_augmentations(self, register: Any) -> None:
            register("darker", Darker)

    with pytest.raises(PluginError, match="register_augmentations needs a kind"):
        Plugins(Kindless(), installed=False)


# --- p ---


def test_where_p_comes_from() -> None:
    assert (float(made("ada").p), made("ada").fixed) == (0, False)
    assert (float(made("diffaugment").p), made("diffaugment").fixed) == (1, True)
    fixed = made("ada", augment_p=0.3)
    assert (float(fixed.p), fixed.fixed, fixed.controller) == (pytest.approx(0.3), True, None)
    host = Host()
    noise = made("noise", host, steps=10)
    assert (float(noise.p), noise.fixed) == (1, False)
    host.step = 4
    assert float(noise.p) == pytest.approx(0.6)
    assert made("noise", augment_p=1).fixed
    ramp = augment_for(config("ada", augment_policy="r3gan"), host, lambda step: step / 100)
    assert ramp is not None
    assert (float(ramp.p), ramp.controller, ramp.state_dict()) == (pytest.approx(0.04), None, {})
    host.step = 50
    assert float(ramp.p) == 0.5
    # In one place in memory, where a recorded step reads it.
    assert ramp.p is ramp.p


def test_scores_move_p_and_are_logged() -> None:
    host = Host()
    found = made("ada", host, augment_images=2_000)
    given = torch.tensor([[3.0], [-1.0], [2.0], [0.5]], dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(4):
            found.observe(given * 1)
    assert float(found.p) == 0
    assert host.logged == [("augment/r_t", 0.5), ("augment/p", 0.0)] * 4
    for _ in range(4):
        found.observe(POSITIVE, examples=100)
    assert float(found.p) == pytest.approx(0.2)
    # Patches of a picture are one example.
    patches = made("apa", host, augment_images=2_000)
    for _ in range(4):
        patches.observe(torch.ones(50, 1, 7, 7))
    assert float(patches.p) == pytest.approx(0.1)


class Weaker(Augmentation):
    adaptive = True

    def see(self, examples: Tensor, p: Tensor) -> Tensor:
        return examples * (1 - p) * p


def test_p_may_move_before_the_gradients_are_computed() -> None:
    found = Augment(Weaker(None), config("ada", augment_images=1_000), Host())
    found._p.fill_(0.5)
    given = torch.ones(50, 1, requires_grad=True)
    scores = found.critic(lambda x: x)(given)
    for _ in range(4):
        found.observe(scores)
    assert float(found.p) == pytest.approx(0.7)
    scores.sum().backward()
    assert torch.equal(given.grad, torch.full((50, 1), 0.25))


def test_ranks_move_p_together() -> None:
    host = Host()
    host.ranks.world = 2
    host.ranks.mean = lambda value: value * 0 + 0.7  # type: ignore[method-assign]
    found = made("apa", host, augment_images=4_000)
    for _ in range(4):
        found.observe(-POSITIVE)
    assert float(found.p) == pytest.approx(0.1)


def test_what_is_not_a_number_says_nothing() -> None:
    found = made("apa", augment_images=2_000)
    for _ in range(4):
        found.observe(POSITIVE * float("nan"))
    found.observe(POSITIVE * float("inf"))
    assert found.state_dict()["p"] == 0
    assert found.state_dict()["signs"] == 1


def test_a_fixed_p_is_not_moved() -> None:
    host = Host()
    for name in ("diffaugment", "noise"):
        found = made(name, host)
        found.observe(POSITIVE)
        assert found.state_dict() == {}
        found.load_state_dict({})
        # A run that had ADA before its settings changed.
        found.load_state_dict(made("ada").state_dict())
    assert [name for name, _ in host.logged] == ["augment/r_t", "augment/r_t", "augment/p"]


# --- The limit ---


def test_the_limit_is_warned_of_once() -> None:
    found = made("apa", augment_images=50, log_every=1000)
    for _ in range(3):
        found.observe(POSITIVE)
    with pytest.warns(UserWarning, match=r"augment = apa: p has reached its limit of 0\.8") as warned:
        found.observe(POSITIVE)
    assert len(warned) == 1
    found.observe(POSITIVE)
    assert found.state_dict()["warned"] is True
    resumed = made("apa", augment_images=50)
    resumed.load_state_dict(found.state_dict())
    for _ in range(8):
        resumed.observe(POSITIVE)
    assert float(resumed.p) == pytest.approx(0.8)


def test_other_ranks_are_silent() -> None:
    host = Host()
    host.ranks.rank = 1
    found = made("apa", host, augment_images=50)
    for _ in range(4):
        found.observe(POSITIVE)
    assert found.warned


@pytest.mark.parametrize("name", ["ada", "diffaugment", "apa", "diffusion", "noise"])
def test_a_gpu_is_never_waited_for(name: str) -> None:
    """Fake tensors are on a GPU that need not be there, and refuse to be read."""
    host = Host()
    host.log = lambda name, value: None  # type: ignore[method-assign]
    host.device.torch = torch.device("cuda")
    policy = {"augment_policy": "bgcfnc"} if name == "ada" else {}
    with FakeTensorMode():
        found = made(name, host, log_every=10, **policy)
        given = torch.rand(4, 3, 8, 8, device="cuda")
        for host.step in range(9):
            shown = found.critic(lambda x: x)(found.real(given, given))
            assert shown.device.type == "cuda"
            found.observe(shown)
        host.step = 9
        if found.controller is not None:
            with pytest.raises(DataDependentOutputException):
                found.observe(shown)
    for cache in (resampling._up, resampling._down, wavelets.band_matrices, diffusion._kept):
        cache.cache_clear()


# --- State ---


def test_another_augmentation_begins_at_0() -> None:
    first = made("apa", augment_images=100, augment_target=-0.5)
    for _ in range(4):
        first.observe(torch.zeros(1, 1), examples=10)
    assert float(first.p) == pytest.approx(0.4)
    for name, expected in (("apa", 0.4), ("ada", 0.0)):
        second = made(name)
        second.load_state_dict(first.state_dict())
        assert float(second.p) == pytest.approx(expected)


@pytest.mark.parametrize(
    "wrong", [{"augment": 3}, {"warned": 1}, {"warned": None}, {"p": torch.tensor(1.0)}, {"p": None}]
)
def test_a_stranger_s_state_is_refused(wrong: dict[str, Any]) -> None:
    found = made("ada")
    with pytest.raises(ValueError, match="of an augmentation"):
        found.load_state_dict({**found.state_dict(), **wrong})


SMALL: dict[str, Any] = {
    "size": 32,
    "width": 2,
    "batch_size": 4,
    "device": "cpu",
    "precision": "fp32",
    "tensorboard": False,
    "sample_every": 0,
    "penalty": "r1",
    "augment_images": 100.0,
    "log_every": 1,
}


def confident(observe: Any) -> Any:
    """As if D knew all real examples, so that p rises."""
    return lambda self, sign, examples: observe(self, sign * 0 + 1, examples)


def weights(run: Any) -> list[Tensor]:
    return [value for name in ("G", "D") for value in run.players[name].module.state_dict().values()]


@pytest.mark.parametrize("name", ["ada", "apa", "diffusion", "noise", "diffaugment"])
def test_a_resumed_run_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With p moving, in the middle of an interval of the controller: from step 6 of 11."""
    settings = {**SMALL, "augment": name, "checkpoint_every": 6}
    plugins = Plugins(mmgan_dcgan, installed=False)
    monkeypatch.setattr(Controller, "observe", confident(Controller.observe))
    whole = mmgan.train("dcgan", plugins=plugins, folder=tmp_path / "run", steps=11, **settings)
    part = mmgan.load_run(tmp_path / "run", plugins, which="6")
    seen = part.task.objective.augment
    if seen.controller is not None:
        assert (int(seen.controller.count), float(seen.p) > 0) == (2, True)
    mmgan.train(part)
    assert part.step == 11
    assert seen.state_dict() == whole.task.objective.augment.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(part), strict=True))


# --- Settings ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "ada", "augment_policy": "bgd"}, "augment_policy = 'bgd': allowed are blit, geom"),
        ({"augment": "diffusion", "augment_policy": "bgc"}, "allowed are priority, uniform"),
        ({"augment": "apa", "augment_policy": "bgc"}, "augment_policy = 'bgc': apa has none"),
        (
            {"augment": "diffaugment", "augment_policy": "color,zoom"},
            "no change of diffaugment 'zoom'; allowed are color, translation, cutout",
        ),
        ({"augment": "diffaugment", "augment_p": 0.5}, "changes every picture"),
        ({"augment_p": 1.5}, "augment_p = 1.5"),
        ({"augment_images": 0}, "augment_images = 0"),
        ({"augment_noise": -1}, "augment_noise = -1"),
        ({"augment_target": 1}, "augment_target = 1"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(AugmentConfig, {"plugin": "dcgan", **settings})


def test_published_values_are_the_defaults() -> None:
    c = config("none")
    assert (c.augment_target, c.augment_images, c.augment_policy, c.augment_p) == (0.6, 500_000, "", None)
    # A preset may have a policy, and a person another augmentation.
    config("none", augment_policy="bgc", augment_p=0.5)


def test_a_wrong_name_suggests_one() -> None:
    plugins = Plugins(mmgan_dcgan, installed=False)
    with pytest.raises(ConfigError, match=r"augment = 'adda': allowed are none, apa.*Did you mean 'ada'"):
        mmgan.new_run("dcgan", plugins, augment="adda", **SMALL)
