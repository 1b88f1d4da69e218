import math

import pytest
import torch

from mmgan.errors import DivergedError, UsageError
from mmgan.metrics import distances, image
from mmgan.metrics.classes import Classes
from mmgan.metrics.distances import (
    METRICS,
    coverage,
    density,
    frechet_distance,
    kernel_distance,
    plausible,
    precision,
    recall,
)
from mmgan.metrics.features import Features, PooledPixels, RandomFeatures
from mmgan.metrics.image import image_scores


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def exactly_normal(n, d, seed=0):
    """Points with mean 0 and covariance I to rounding, so that closed forms hold without sampling noise."""
    points = normal(n, d, seed).double()
    points -= points.mean(0)
    return points @ torch.linalg.inv(torch.linalg.cholesky(points.T.cov())).T


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's handwritten digits: (1797, 1, 8, 8) in [-1, 1], shuffled."""
    from sklearn.datasets import load_digits

    pictures = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    return pictures[torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))]


def noisy(pictures, amount, seed=1):
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
    return (pictures + amount * noise).clamp(-1, 1)


class TestFrechet:
    def test_a_set_with_itself(self):
        points = normal(200, 20)
        assert frechet_distance(points, points) == pytest.approx(0, abs=1e-9)

    def test_shifted(self):
        points = exactly_normal(50, 8)
        assert frechet_distance(points + 3, points) == pytest.approx(8 * 3**2)

    def test_diagonal_covariances(self):
        # tr(C1 + C2 - 2 (C1 C2)^½) is the sum of (s1 - s2)² over the axes.
        points = exactly_normal(100, 4)
        scales = torch.tensor([0.5, 1, 2, 3], dtype=torch.float64)
        expected = (scales - 1).square().sum().item()
        assert frechet_distance(points * scales, points) == pytest.approx(expected)

    def test_covariances_that_do_not_commute(self):
        from scipy.linalg import sqrtm

        left, right = normal(6, 6, 1).double(), normal(6, 6, 2).double()
        a, b = exactly_normal(60, 6, 3) @ left.T, exactly_normal(60, 6, 4) @ right.T
        one, two = left @ left.T, right @ right.T
        expected = (one + two).trace().item() - 2 * sqrtm((one @ two).numpy()).trace().real
        assert frechet_distance(a, b) == pytest.approx(expected)

    def test_agrees_with_torchmetrics(self):
        from torchmetrics.image.fid import FrechetInceptionDistance

        class Same(torch.nn.Identity):
            num_features = 10

        a, b = normal(80, 10, 1), normal(90, 10, 2) * 1.5 + 0.2
        theirs = FrechetInceptionDistance(Same(), normalize=True)
        theirs.update(a, real=False)
        theirs.update(b, real=True)
        assert frechet_distance(a, b) == pytest.approx(theirs.compute().item(), rel=1e-4)

    @pytest.mark.parametrize(("n", "m"), [(5, 100), (100, 5), (20, 100)])
    def test_too_few_pictures(self, n, m):
        with pytest.raises(UsageError) as caught:
            frechet_distance(normal(n, 20), normal(m, 20))
        assert f"{n} generated and {m} real" in caught.value.message
        assert "at least 21" in caught.value.message
        assert "21" in caught.value.hint

    def test_just_enough_pictures(self):
        assert frechet_distance(normal(21, 20), normal(21, 20, 1)) > 0


class TestKernel:
    def test_by_hand(self):
        # One dimension: k(x, y) = (xy + 1)³, off the diagonal within a set, everywhere across.
        x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [1.0], [3.0]])
        within_x = (1 * 2 + 1) ** 3
        within_y = (1 + 1 + 64) / 3
        across = (1 + 8 + 64 + 1 + 27 + 343) / 6
        assert kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * across)

    def test_unbiased(self):
        found = [kernel_distance(normal(50, 4, seed), normal(50, 4, seed + 500)) for seed in range(100)]
        error = torch.tensor(found).std().item() / math.sqrt(len(found))
        assert abs(sum(found) / len(found)) < 3 * error
        assert min(found) < 0 < max(found)

    def test_agrees_with_torchmetrics(self):
        from torchmetrics.image.kid import poly_mmd

        a, b = normal(60, 10, 1), normal(60, 10, 2) + 0.5
        assert kernel_distance(a, b) == pytest.approx(poly_mmd(b, a).item(), rel=1e-4)

    def test_apart(self):
        assert kernel_distance(normal(100, 8) + 2, normal(100, 8, 1)) > 1

    def test_too_few_pictures(self):
        with pytest.raises(UsageError, match="1 generated and 9 real examples: at least 2"):
            kernel_distance(normal(1, 4), normal(9, 4))


class TestNeighbours:
    @pytest.mark.parametrize("metric", [precision, recall, density, coverage])
    def test_a_set_with_itself(self, metric):
        points = normal(1500, 16)
        assert metric(points, points) == pytest.approx(1)

    @pytest.mark.parametrize("metric", [precision, recall, density, coverage])
    def test_far_apart(self, metric):
        assert metric(normal(200, 8) + 1000, normal(200, 8, 1)) == 0

    def test_on_a_line(self):
        # The third neighbour of 0..9 is 3, 2, 2, …, 2, 3 away, the fifth 5, 4, 3, …, 3, 4, 5.
        real = torch.arange(10.0)[:, None]
        generated = torch.tensor([[-4.0], [-2.5], [4.5], [4.5], [4.5], [4.5]])
        assert precision(generated, real) == 5 / 6
        # -4 lies in the ball of 0 alone, -2.5 in those of 0 and 1, 4.5 in all ten.
        assert density(generated, real) == pytest.approx((1 + 2 + 4 * 10) / 6 / 5)
        assert coverage(torch.zeros(6, 1), real) == pytest.approx(3 / 10)

    def test_a_collapsed_generator_is_precise_and_recalls_nothing(self):
        real = normal(500, 8)
        generated = real[:1] + 1e-3 * normal(500, 8, 1)
        assert precision(generated, real) == 1
        assert recall(generated, real) < 0.05
        assert coverage(generated, real) < 0.1

    def test_density_exceeds_one_where_real_pictures_are_dense(self):
        assert density(normal(300, 4) * 0.1, normal(300, 4, 1)) > 1.5

    def test_an_outlier_misleads_precision_more_than_density(self):
        real = normal(200, 4)
        real[0] = 100
        generated = normal(200, 4, 1) + 50
        assert precision(generated, real) == 1
        assert density(generated, real) <= 1 / 5

    def test_one_distribution(self):
        a, b = normal(1000, 4), normal(1000, 4, 1)
        assert density(a, b) == pytest.approx(1, abs=0.1)
        assert coverage(a, b) > 0.9

    @pytest.mark.parametrize(("metric", "least"), [(precision, 4), (recall, 4), (density, 6), (coverage, 6)])
    def test_too_few_pictures(self, metric, least):
        with pytest.raises(UsageError, match=f"{least - 1} generated and 9 real .* at least {least} "):
            metric(normal(least - 1, 3), normal(9, 3))
        metric(normal(least, 3), normal(least, 3))

    def test_chunks_do_not_matter(self, monkeypatch):
        a, b = normal(100, 4), normal(130, 4, 1)
        whole = {name: metric(a, b) for name, metric in METRICS.items()}
        monkeypatch.setattr(distances, "CHUNK", 7)
        assert {name: metric(a, b) for name, metric in METRICS.items()} == pytest.approx(whole)


class TestPlausible:
    def test_on_a_line(self):
        # The third neighbour of 0, 1, 2, 3 and 50 is 3, 2, 2, 3 and 49 away; the last ball is left out. All
        # but 50 are among the three nearest of one that is kept, so four of five new ones would be in.
        real = torch.tensor([[0.0], [1], [2], [3], [50]])
        generated = torch.tensor([[-2.5], [5.5], [20], [50]])
        assert precision(generated, real) == 1
        assert plausible(generated, real) == pytest.approx((2 / 4) / (4 / 5))

    def test_new_real_ones_are_and_those_far_away_are_not(self):
        found = [plausible(normal(300, 8, seed), normal(300, 8, seed + 99)) for seed in range(10)]
        assert sum(found) / 10 == pytest.approx(1, abs=0.1)
        assert max(found) <= 1
        assert plausible(normal(50, 8) + 100, normal(50, 8, 1)) == 0

    def test_a_share_of_new_real_ones_is_about_that_share(self):
        new, real = normal(400, 8), normal(400, 8, 1)
        new[:300] += 100
        assert plausible(new, real) == pytest.approx(0.25, abs=0.05)

    def test_an_outlier_does_not_mislead_it(self):
        real = normal(200, 4)
        real[0] = 100
        assert precision(normal(200, 4, 1) + 50, real) == 1
        assert plausible(normal(200, 4, 1) + 50, real) == 0

    def test_chunks_do_not_matter(self, monkeypatch):
        a, b = normal(100, 4), normal(130, 4, 1)
        whole = plausible(a, b)
        monkeypatch.setattr(distances, "CHUNK", 7)
        assert plausible(a, b) == whole

    def test_too_few_pictures(self):
        with pytest.raises(UsageError, match="Which ones look real can't be computed from 3 generated"):
            plausible(normal(3, 2), normal(9, 2))


class TestScores:
    def test_names(self, digits):
        scores = image_scores([digits[:200]], [digits[200:400]], RandomFeatures())
        assert list(scores) == [f"{name}_random" for name in METRICS]
        assert not any("fid" in name or "kid" in name for name in scores)
        assert all(isinstance(score, float) for score in scores.values())

    def test_a_set_with_itself(self, digits):
        scores = image_scores([digits[:300]], digits[:300].split(64), PooledPixels(1), "cpu")
        assert scores["frechet_pixels"] == pytest.approx(0, abs=1e-6)
        assert [scores[f"{name}_pixels"] for name in ("precision", "recall", "density", "coverage")] == (
            pytest.approx([1] * 4, abs=0.01)  # two neighbours of a digit may be equally far
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("features", [RandomFeatures(), PooledPixels(1)], ids=lambda f: f.name)
    def test_noise_worsens_the_scores(self, digits, features):
        real, held_out = digits[:800], digits[800:1600]
        scores = [image_scores([noisy(held_out, amount)], [real], features) for amount in (0, 0.2, 0.4, 0.8)]
        for name in ("frechet", "kernel"):
            found = [score[f"{name}_{features.name}"] for score in scores]
            assert found == sorted(found), name
        for name in ("precision", "density", "coverage"):  # not recall: outliers' balls are large
            found = [score[f"{name}_{features.name}"] for score in scores]
            assert found[0] > 0.5, name
            assert found[-1] < 0.5 * found[0], name

    def test_the_same_twice_and_no_global_randomness(self, digits):
        before = torch.get_rng_state()
        first, second = (
            image_scores([noisy(digits[:200], 0.1)], [digits[200:400]], RandomFeatures()) for _ in range(2)
        )
        assert first == second
        assert torch.equal(before, torch.get_rng_state())

    def test_batches_do_not_matter(self, digits):
        whole = image_scores([digits[:200]], [digits[200:400]], PooledPixels())
        parts = image_scores(iter(digits[:200].split(33)), digits[200:400].split(1), PooledPixels())
        assert parts == pytest.approx(whole)

    def test_grey_and_half_precision(self, digits):
        scores = image_scores(
            [digits[:200].bfloat16()], [digits[200:400].repeat(1, 3, 1, 1)], RandomFeatures()
        )
        assert scores["coverage_random"] > 0.5

    def test_metrics_of_a_plugin(self, digits):
        def mean_distance(generated, real):
            return float((generated.mean(0) - real.mean(0)).norm())

        metrics = {"mean": mean_distance}
        scores = image_scores([digits[:9]], [digits[:9]], RandomFeatures(), metrics=metrics)
        assert scores == {"mean_random": 0}
        assert "mean" not in METRICS

    def test_features_of_a_plugin(self, digits):
        class Brightness(Features):
            name = "brightness"
            dimensions = 1

            def forward(self, images):
                return images.flatten(1).mean(1, keepdim=True)

        assert "frechet_brightness" in image_scores([digits[:50]], [digits[50:100]], Brightness())

    def test_too_few_pictures(self, digits):
        scores = image_scores([digits[:100]], [digits[:500]], RandomFeatures())
        assert list(scores) == [f"{name}_random" for name in METRICS if name != "frechet"]
        assert list(scores.missing) == ["frechet_random"]
        assert "100 generated and 500 real examples: at least 129" in scores.missing["frechet_random"]

    @pytest.mark.parametrize(("n", "had"), [(1, 0), (2, 1), (4, 3), (6, 5), (129, 6)])
    def test_the_scores_that_can_be_had(self, digits, n, had):
        scores = image_scores([digits[:n]], [digits[n : 2 * n]], RandomFeatures())
        assert len(scores) == had
        assert {*scores, *scores.missing} == {f"{name}_random" for name in METRICS}

    def test_no_pictures(self):
        scores = image_scores([], [], RandomFeatures())
        assert not scores
        assert "0 generated and 0 real" in scores.missing["kernel_random"]

    def test_a_plugin_s_metric_that_fails_leaves_the_others(self, digits):
        def fails(generated, real):
            return generated[99].sum()

        metrics = METRICS | {"fails": fails, "nothing": lambda generated, real: float("nan")}
        scores = image_scores([digits[:9]], [digits[9:18]], RandomFeatures(), metrics=metrics)
        assert "coverage_random" in scores
        assert scores.missing["fails_random"].startswith("IndexError: index 99 is out of bounds")
        assert "NaN" in scores.missing["nothing_random"]

    def test_broken_pictures(self, digits):
        broken = digits[:200].clone()
        broken[7, 0, 3, 3] = float("nan")
        with pytest.raises(DivergedError, match="NaN"):
            image_scores([broken], [digits[:200]], RandomFeatures())


class Value(Features):
    """A picture's first pixel."""

    name = "value"
    dimensions = 1

    def forward(self, images):
        return images.flatten(1)[:, :1]


class TestBounds:
    def test_a_fair_sample_is_kept(self, monkeypatch):
        monkeypatch.setattr(image, "MAX_SAMPLES", 500)
        ordered = torch.arange(5000.0)[:, None, None, None]
        kept = {}

        def keep(generated, real):
            kept["generated"], kept["real"] = generated, real
            return 0.0

        image_scores(ordered.split(64), ordered.split(99), Value(), metrics={"keep": keep})
        assert torch.equal(kept["generated"], kept["real"])
        assert len(kept["real"].unique()) == 500
        # The mean of 500 drawn from 0..4999 has a standard deviation of about 61.
        assert kept["real"].mean().item() == pytest.approx(2499.5, abs=200)

    def test_labels_stay_with_the_pictures_that_are_kept(self, monkeypatch):
        monkeypatch.setattr(image, "MAX_SAMPLES", 500)
        ordered = torch.arange(5000.0)[:, None, None, None]
        labels = torch.arange(5000) % 3
        seen = []

        def keep(generated, real):
            seen.append({int(value) % 3 for value in (*generated, *real)})
            return 0.0

        classes = Classes(("a", "b", "c"), labels, labels)
        batches = ordered.split(64), ordered.split(99)
        scores = image_scores(*batches, Value(), metrics={"kernel": keep}, classes=classes)
        assert list(scores) == ["kernel_value", "kernel_value/a", "kernel_value/b", "kernel_value/c"]
        assert seen == [{0, 1, 2}, {0}, {1}, {2}]

    @pytest.mark.parametrize("metric", [kernel_distance, precision, recall, density, coverage])
    def test_pairs_are_bounded(self, monkeypatch, metric):
        points, others = normal(400, 4), normal(300, 4, 1)
        before = torch.get_rng_state()
        monkeypatch.setattr(distances, "MAX_PAIRED", 100)
        first = metric(points, others)
        assert first == metric(points, others)
        assert torch.equal(before, torch.get_rng_state())
        monkeypatch.setattr(distances, "MAX_PAIRED", 1000)
        assert first != metric(points, others)
