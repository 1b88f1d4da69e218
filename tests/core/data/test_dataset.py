import math

import pytest
import torch

from mmgan.data.dataset import Draw


def draw(seed=0, epochs=(0,), indices=(0,)):
    return Draw(seed, torch.tensor(epochs), torch.tensor(indices))


def many(n, seed=0, epoch=0):
    return Draw(seed, torch.full((n,), epoch), torch.arange(n))


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs().item()


@pytest.mark.parametrize(
    "name", ["", "a", "flip", "8 bytes!", "nine byte", "a name much longer than that", "größe"]
)
def test_any_name_will_do(name):
    assert draw().uniform(name, 3).shape == (1, 3)
    assert draw().normal(name).isfinite().all()


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,)])
def test_shapes_and_type(shape):
    numbers = many(5).uniform("x", *shape)
    assert numbers.shape == (5, *shape)
    assert numbers.dtype == torch.float64
    assert many(5).normal("x", *shape).shape == (5, *shape)


def test_an_empty_batch():
    assert Draw(0, torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)).uniform(
        "x"
    ).shape == (0,)


def test_uniform_is_uniform():
    numbers = many(20_000).uniform("x", 10)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # The standard error of the mean of 200,000 is 0.00065.
    assert numbers.mean().item() == pytest.approx(0.5, abs=0.003)
    assert numbers.var().item() == pytest.approx(1 / 12, abs=0.001)
    counts = torch.histc(numbers, bins=20, min=0, max=1)
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum().item()
    assert chi_square < 44  # 19 degrees of freedom: p = 0.001


def test_normal_is_normal():
    numbers = many(20_000).normal("x", 10)
    assert numbers.isfinite().all()
    assert numbers.mean().item() == pytest.approx(0, abs=0.01)
    assert numbers.var().item() == pytest.approx(1, abs=0.015)
    assert (numbers**3).mean().item() == pytest.approx(0, abs=0.03)
    assert (numbers**4).mean().item() == pytest.approx(3, abs=0.1)
    assert (numbers < 1).double().mean().item() == pytest.approx(
        0.5 * (1 + math.erf(1 / math.sqrt(2))), abs=0.003
    )


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_names_indices_epochs_seeds_and_places_are_independent(kind):
    n = 50_000
    first = getattr(many(n), kind)("x")
    others = [
        getattr(many(n), kind)("y"),
        getattr(many(n, epoch=1), kind)("x"),
        getattr(many(n, seed=1), kind)("x"),
        first.roll(1),
        getattr(many(n), kind)("x", 2)[:, 1],
    ]
    for other in others:
        assert correlation(first, other) < 0.02  # 4.5 standard errors


def test_a_number_depends_on_seed_epoch_index_and_name_only():
    together = draw(7, (0, 3, 5), (10, 20, 30)).uniform("x", 4)
    alone = draw(7, (3,), (20,)).uniform("x", 4)
    assert torch.equal(together[1:2], alone)
    both = draw(7)
    assert torch.equal(both.uniform("x"), both.uniform("x"))


def test_the_whole_seed_counts():
    seeds = [0, 1, 2**32, 2**62, 2**63 - 1, 2**63 - 2]
    assert len({draw(seed).uniform("x").item() for seed in seeds}) == len(seeds)


def test_the_numbers_stay_the_same_from_version_to_version():
    # A resumed run must draw what it would have drawn before an update.
    numbers = draw(1, (2,), (3,)).uniform("flip", 2)
    assert numbers.tolist() == [[0.23266217060158212, 0.9672691212237559]]
