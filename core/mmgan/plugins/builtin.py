"""The core's own defaults, data sets and metrics, registered by the same hooks as any plugin's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgan import hookimpl

if TYPE_CHECKING:
    from torch import nn

    from mmgan.backend.device import Device
    from mmgan.backend.precision import Precision
    from mmgan.config import Config
    from mmgan.hookspecs import Register, RegisterKind
    from mmgan.run import Run


@hookimpl
def register_datasets(register: RegisterKind) -> None:
    """Register pictures (a folder, scikit-learn's digits, torchvision's data sets, MNIST's digits stacked to
    colours), sounds and texts.
    """
    register("folder", "mmgan.data.image.dataset:open_folder", kind="images")
    register("digits", "mmgan.data.image.dataset:open_digits", kind="images")
    register("torchvision", "mmgan.data.image.dataset:open_torchvision", kind="images")
    register("stacked-mnist", "mmgan.data.image.stacked:open_stacked", kind="images")
    register("folder", "mmgan.data.audio.dataset:open_folder", kind="sounds")
    register("folder", "mmgan.data.text.dataset:open_folder", kind="texts")


@hookimpl
def register_metrics(register: RegisterKind) -> None:
    """Register the distances and the coverage measures, on features of pictures and of sounds."""
    for kind in ("images", "sounds"):
        register("frechet", "mmgan.metrics.distances:frechet_distance", kind=kind)
        register("kernel", "mmgan.metrics.distances:kernel_distance", kind=kind)
        register("precision", "mmgan.metrics.distances:precision", kind=kind)
        register("recall", "mmgan.metrics.distances:recall", kind=kind)
        register("density", "mmgan.metrics.distances:density", kind=kind)
        register("coverage", "mmgan.metrics.distances:coverage", kind=kind)


@hookimpl
def register_losses(register: Register) -> None:
    """Register the adversarial losses."""
    register("minimax", "mmgan.losses.adversarial:Minimax")
    register("nonsaturating", "mmgan.losses.adversarial:NonSaturating")
    register("lsgan", "mmgan.losses.adversarial:LeastSquares")
    register("hinge", "mmgan.losses.adversarial:Hinge")
    register("wgan", "mmgan.losses.adversarial:Wasserstein")
    register("ragan", "mmgan.losses.adversarial:RelativisticAverage")
    register("rpgan", "mmgan.losses.adversarial:RelativisticPairing")


@hookimpl
def register_penalties(register: Register) -> None:
    """Register the gradient penalties."""
    register("none", "mmgan.losses.penalties:none")
    register("wgan-gp", "mmgan.losses.penalties:wgan_gp")
    register("r1", "mmgan.losses.penalties:r1")
    register("r2", "mmgan.losses.penalties:r2")
    register("r1r2", "mmgan.losses.penalties:r1r2")
    register("zero-gp", "mmgan.losses.penalties:zero_gp")


@hookimpl
def register_features(register: RegisterKind) -> None:
    """Register the features of pictures."""
    register("random", "mmgan.metrics.features:random_features", kind="images")
    register("pixels", "mmgan.metrics.features:pixel_features", kind="images")
    register("inception", "mmgan.metrics.features:inception_features", kind="images")
    register("efficientnet", "mmgan.metrics.efficientnet:efficientnet_features", kind="images")
    register("efficientnet-64", "mmgan.metrics.efficientnet:efficientnet_64_features", kind="images")


@hookimpl
def register_augmentations(register: RegisterKind) -> None:
    """Register what D may see instead of the examples: of any kind, and of pictures."""
    for kind in ("images", "sounds"):
        register("none", "mmgan.augment.base:Unchanged", kind=kind)
        register("apa", "mmgan.augment.apa:Apa", kind=kind)
        register("diffusion", "mmgan.augment.diffusion:Diffusion", kind=kind)
        register("noise", "mmgan.augment.noise:InstanceNoise", kind=kind)
    register("diffaugment", "mmgan.augment.diffaugment:DiffAugment", kind="images")
    register("ada", "mmgan.augment.ada:Ada", kind="images")


@hookimpl(trylast=True)
def select_device(config: Config) -> Device:
    """Choose one of torch's devices; devices that plugins register were looked up before."""
    from mmgan.backend.device import choose_device

    return choose_device(config.device)


@hookimpl(trylast=True)
def make_precision(device: Device, config: Config, networks: tuple[nn.Module, ...]) -> Precision:
    """Choose fp32, bf16 or fp16; precisions that plugins register were looked up before."""
    from mmgan.backend.precision import choose_precision

    return choose_precision(device, config.precision, networks, config.batch_size)


@hookimpl
def configure_module(run: Run, name: str, module: nn.Module) -> None:
    """Compile a network in place where ``--compile`` asks for it and its player allows it."""
    player = run.players.get(name)  # None for a helper.
    # "auto" is settled once all networks are there.
    if run.config.compile is True and (player is None or player.compile):
        from mmgan.backend.compiling import compile_network

        compile_network(name, module)
