"""The losses that settings choose, put together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mmgan import ConfigError
from mmgan.losses import Objective, ObjectiveConfig, adversarial_loss, penalty, shifted


class Place:
    """Where a run stands."""

    def __init__(self, step: int = 0) -> None:
        self.step = self.stage_step = step
        self.device = SimpleNamespace(torch=torch.device("cpu"))
        self.ranks = SimpleNamespace(mean=Tensor.detach)
        self.kept: dict[str, Any] = {}
        self.passes = 0

    def grad(self, critic: Any, inputs: Tensor, /) -> tuple[Tensor, Tensor]:
        outputs = critic(inputs)
        (gradient,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
        return outputs, gradient

    def registered(self, table: str, name: str, kind: str = "") -> Any:
        raise AssertionError

    def keep(self, name: str, thing: Any) -> None:
        self.kept[name] = thing


def config(**settings: Any) -> ObjectiveConfig:
    return ObjectiveConfig(**{"plugin": "toy", "steps": 100, **settings})


def critic() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), nn.Softplus(), nn.Linear(8, 1), nn.Flatten(0)
    ).double()


REAL = torch.randn(6, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
FAKE = torch.randn(6, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def gradients(losses: dict[str, Tensor], network: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(sum(losses.values()), list(network.parameters())))  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [0, 1, 4])
@pytest.mark.parametrize("loss", ["nonsaturating", "rpgan", "hinge"])
@pytest.mark.parametrize(
    ("name", "every"), [("none", 1), ("r1r2", 1), ("r1r2", 4), ("wgan-gp", 1), ("wgan-gp", 4)]
)
def test_a_joined_pass_is_the_same_loss(loss: str, name: str, step: int, every: int) -> None:
    settings = config(loss=loss, penalty=name, penalty_weight=0.3, penalty_every=every)
    found = []
    for joined in (False, True):
        network = critic()
        torch.manual_seed(5)  # the same interpolates
        losses = Objective(settings, Place(step), joined).discriminator(network, REAL, FAKE)
        found.append((losses, gradients(losses, network)))
    (apart, of_apart), (together, of_together) = found
    assert apart.keys() == together.keys()
    torch.testing.assert_close(apart, together)
    torch.testing.assert_close(of_apart, of_together)


def test_r1r2_takes_one_pass_through_the_critic() -> None:
    passes = []
    network = critic()

    def counted(examples: Tensor) -> Tensor:
        passes.append(len(examples))
        return network(examples)  # type: ignore[no-any-return]

    Objective(config(penalty="r1r2"), Place(), joined=True).discriminator(counted, REAL, FAKE)
    assert passes == [12]


def test_a_lazy_penalty_is_as_strong_as_one_in_every_step() -> None:
    network, settings = critic(), config(penalty="r1r2", penalty_weight=0.5, penalty_every=4)
    once = 0.5 * penalty("r1r2", Place(), network, REAL, FAKE)
    terms = [Objective(settings, Place(step)).discriminator(network, REAL, FAKE) for step in range(8)]
    assert [step for step, losses in enumerate(terms) if "D/penalty" in losses] == [0, 4]
    torch.testing.assert_close(sum(losses.get("D/penalty", 0) for losses in terms) / 8, once)
    assert config(penalty="r1r2", penalty_every=4).stages[0].period == 4


def test_gamma_falls_by_a_cosine() -> None:
    settings = config(penalty="r1r2", penalty_weight=2.0, penalty_weight_end=0.2, penalty_every=2)
    weights = [Objective(settings, Place(step)).penalty_weight / 2 for step in (0, 50, 100, 300)]
    assert weights == pytest.approx([2.0, 1.1, 0.2, 0.2])
    assert settings.stages[0].period is None  # no GPU may record a step for all


@pytest.mark.parametrize("key", ["penalty_every", "penalty_weight_end"])
def test_what_a_missing_penalty_has_no_use_for_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match=f"{key} = 2.*there is no penalty; set penalty=r1r2"):
        config(**{key: 2})


def test_lecam_is_added_and_kept() -> None:
    place = Place()
    objective = Objective(config(lecam=0.3), place)
    assert place.kept == {"objective": objective}
    assert objective.lecam is not None
    objective.lecam.start = 0
    network = critic()
    losses = objective.discriminator(network, REAL, FAKE)
    on_real, on_fake = network(REAL), network(FAKE)
    of_real, of_fake = on_real.mean() * 0.01, on_fake.mean() * 0.01
    expected = (on_real - of_fake).relu().square().mean() + (of_real - on_fake).relu().square().mean()
    torch.testing.assert_close(losses["D/lecam"], 0.3 * expected, rtol=1e-5, atol=0)
    again = Objective(config(lecam=0.3), Place())
    again.load_state_dict(objective.state_dict())
    assert again.lecam is not None
    assert torch.equal(again.lecam.averages, objective.lecam.averages)


def test_nothing_is_kept_that_does_not_move() -> None:
    place = Place()
    Objective(config(loss="rpgan", penalty="r1r2"), place)
    assert not place.kept


def test_consistency_is_the_distance_of_scores() -> None:
    network = critic()
    objective = Objective(config(consistency=10.0), Place(), shift=lambda x: x.roll(1, -1))
    losses = objective.discriminator(network, REAL, FAKE)
    expected = sum((network(x.roll(1, -1)) - network(x)).square().mean() for x in (REAL, FAKE))
    torch.testing.assert_close(losses["D/consistency"], 10 * expected)


def test_a_game_without_a_shift_has_no_consistency() -> None:
    with pytest.raises(ConfigError, match=r"consistency = 1\.0: toy has no shift"):
        Objective(config(consistency=1.0), Place())


class Halved:
    """Shows half of each example; real ones are fakes."""

    def __init__(self) -> None:
        self.observed: list[Tensor] = []

    def critic(self, critic: Any) -> Any:
        return lambda examples: critic(examples / 2)

    def real(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake

    def observe(self, on_real: Tensor, examples: int) -> None:
        assert examples == 6
        self.observed.append(on_real)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": len(self.observed)}

    def load_state_dict(self, state: Any) -> None:
        self.observed = [torch.zeros(())] * state["seen"]


@pytest.mark.parametrize("joined", [False, True])
def test_both_players_see_augmented_examples(joined: bool) -> None:
    network, augment, place = critic(), Halved(), Place()
    objective = Objective(
        config(loss="rpgan", penalty="r1r2", penalty_weight=2.0), place, joined, augment=augment
    )
    given = (torch.zeros(6), torch.zeros(6))  # scores of what is not augmented are of no use
    losses = objective.discriminator(network, REAL, FAKE, given)
    loss = adversarial_loss("rpgan")
    torch.testing.assert_close(losses["D/adv"], loss.discriminator(network(FAKE / 2), network(FAKE / 2)))
    # The gradient is taken at the examples themselves, through the augmentation.
    expected = penalty("r1r2", place, lambda x: network(x / 2), FAKE, FAKE)
    torch.testing.assert_close(losses["D/penalty"], 2 * expected)
    torch.testing.assert_close(augment.observed, [network(FAKE / 2)])
    of_g = objective.generator(network, REAL, FAKE)["G/adv"]
    torch.testing.assert_close(of_g, loss.generator(network(FAKE / 2), network(REAL / 2)))
    assert place.kept["objective"].state_dict() == {"augment": {"seen": 1}}


def test_patches_are_scored_and_examples_are_penalised() -> None:
    """PatchGANs: the loss is a mean over patches, the penalty's gradient is of one score for each picture."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Softplus(), nn.Conv2d(2, 1, 1)).double()

    def whole(pictures: Tensor) -> Tensor:
        return network(pictures).flatten(1).mean(1)  # type: ignore[no-any-return]

    settings = config(loss="rpgan", penalty="r1r2", penalty_weight=2.0)
    expected = {
        "D/adv": adversarial_loss("rpgan").discriminator(network(REAL), network(FAKE)),
        "D/penalty": 2 * penalty("r1r2", Place(), whole, REAL, FAKE),
    }
    for joined in (False, True):
        objective = Objective(settings, Place(), joined)
        torch.testing.assert_close(objective.discriminator(whole, REAL, FAKE, patches=network), expected)


def test_shifts_move_whole_pictures() -> None:
    torch.manual_seed(0)
    pictures = torch.arange(16.0)[None, None, None, :] + 100 * torch.arange(16.0)[:, None]
    moved = shifted(pictures.expand(64, 3, 16, 16))
    assert moved.shape == (64, 3, 16, 16)
    across = moved[:, 0, 8, 8] % 100 - 8
    down = moved[:, 0, 8, 8] // 100 - 8
    assert across.unique().tolist() == down.unique().tolist() == [-2, -1, 0, 1, 2]
    for picture, x, y in zip(moved, across.int().tolist(), down.int().tolist(), strict=True):
        columns = [min(max(place + x, 0), 15) for place in range(16)]
        rows = [min(max(place + y, 0), 15) for place in range(16)]
        assert torch.equal(picture[1], pictures[0, 0][rows][:, columns])


def test_shifts_move_sounds_and_carry_gradients() -> None:
    torch.manual_seed(0)
    sounds = torch.randn(4, 2, 64, requires_grad=True)
    moved = shifted(sounds)
    assert moved.shape == sounds.shape
    moved.sum().backward()
    assert sounds.grad is not None
    assert sounds.grad.sum() == 4 * 2 * 64
