import pytest
import torch

from mmgan.errors import ConfigError, UsageError
from mmgan.metrics.features import Features, Inception, PooledPixels, RandomFeatures


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with Inception weights, the only kind there is without a download: untrained ones."""
    from torchvision.models import inception_v3

    path = tmp_path_factory.mktemp("weights") / "inception.pt"
    torch.save(inception_v3(weights=None, init_weights=False).state_dict(), path)
    return path


def pictures(n=4, channels=3, size=16, seed=0):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("make", [PooledPixels, RandomFeatures])
@pytest.mark.parametrize("size", [8, 28, 65])
def test_shape_and_type(make, size):
    features = make()
    found = features(pictures(size=size))
    assert found.shape == (4, features.dimensions)
    assert found.dtype == torch.float32
    assert found.isfinite().all()


@pytest.mark.parametrize("make", [PooledPixels, RandomFeatures])
def test_grey_is_colour_with_equal_channels(make):
    grey = pictures(channels=1)
    torch.testing.assert_close(make()(grey), make()(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("make", [PooledPixels, RandomFeatures])
def test_half_precision_is_widened(make):
    images = pictures().bfloat16()
    torch.testing.assert_close(make()(images), make()(images.float()))


def test_names_and_dimensions():
    assert [(f.name, f.dimensions) for f in (PooledPixels(), PooledPixels(1), RandomFeatures())] == [
        ("pixels", 192),
        ("pixels", 64),
        ("random", 128),
    ]


def test_pixels_are_pixels():
    images = pictures(size=8)
    torch.testing.assert_close(PooledPixels()(images), images.flatten(1))
    assert PooledPixels(1)(torch.full((2, 1, 32, 32), 0.25)).eq(0.25).all()


def test_random_features_are_the_same_always():
    images = pictures()
    torch.testing.assert_close(RandomFeatures()(images), RandomFeatures()(images), rtol=0, atol=0)
    # The first weights, so that a score of one version can be compared with that of the next.
    first = RandomFeatures().weight0.flatten()[:3]
    torch.testing.assert_close(first, torch.tensor([-0.0023595, -0.0874341, -0.3510555]), rtol=0, atol=1e-5)


def test_random_features_keep_the_size_of_the_signal():
    assert 0.2 < RandomFeatures()(pictures(64, size=64)).std() < 2


def test_random_features_tell_pictures_apart():
    found = RandomFeatures()(pictures(32, size=64))
    assert torch.cdist(found, found).add(torch.eye(32) * 9).min() > 0.1


def test_no_feature_draws_from_the_global_generator(weights):
    before = torch.get_rng_state()
    for features in (PooledPixels(), RandomFeatures(), Inception(weights)):
        features(pictures(1))
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_is_trained(weights):
    for features in (PooledPixels(), RandomFeatures(), Inception(weights)):
        assert not any(parameter.requires_grad for parameter in features.parameters())


def test_inception(weights):
    features = Inception(str(weights))
    assert isinstance(features, Features)
    features.train()
    assert not any(module.training for module in features.modules())
    found = features(pictures(2, channels=1))
    assert (features.name, found.shape, found.dtype) == ("inception", (2, 2048), torch.float32)


@pytest.mark.slow
def test_inception_takes_pictures_as_torchvision_would(weights):
    from torchvision.models import inception_v3
    from torchvision.transforms.functional import normalize

    network = inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.fc = torch.nn.Identity()
    images = pictures(2, size=299)
    recipe = normalize((images + 1) / 2, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        torch.testing.assert_close(Inception(weights)(images), network(recipe), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, b"", b"no weights\n", {"weight": torch.ones(2)}, [1]])
def test_inception_without_weights(tmp_path, content):
    path = tmp_path / "inception.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ConfigError, match="inception_v3") as caught:
        Inception(path)
    assert "inception.pt" in caught.value.message
    assert "random" in caught.value.hint
    assert ("no such file" in caught.value.message) == (content is None)


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 2, 8, 8), torch.zeros(3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)]
)
def test_what_is_no_picture_is_refused(images):
    with pytest.raises(UsageError, match="1 or 3"):
        RandomFeatures()(images)


def test_grey_pixels_refuse_colour():
    with pytest.raises(UsageError, match="N, 1, H, W"):
        PooledPixels(1)(pictures())


def test_pixels_of_two_channels():
    with pytest.raises(ConfigError, match="2 channels"):
        PooledPixels(2)
