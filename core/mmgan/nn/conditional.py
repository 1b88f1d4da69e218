"""How a class reaches a network: beside the latents or by batch norm into G, by projection into D.

Mirza and Osindero 2014, "Conditional Generative Adversarial Nets"; Miyato and Koyama 2018, "cGANs with
Projection Discriminator".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def with_label(latents: Tensor, label: Tensor, classes: int) -> Tensor:
    """Lay the class beside the latents, as zeros with a one in its place (Mirza and Osindero 2014).

    The next layer's weights of that place are the class's embedding. They begin as small beside the latents'
    as one number is beside many: with an embedding as long as the latents G soon makes one picture a class.

    Args:
        latents: (batch, latent).
        label: int64 (batch,).
        classes: How many classes.

    Returns:
        (batch, latent + classes).
    """
    # Not by torch's one_hot, which reads the labels to check them: a GPU would be waited for.
    one_hot = label[:, None] == torch.arange(classes, device=label.device)
    return torch.cat([latents, one_hot.to(latents)], dim=1)


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a gain and a bias for each class (Dumoulin et al. 2017; de Vries et al. 2017).

    All classes begin with a gain of 1 and a bias of 0: at first it is plain batch norm. Adam moves a weight
    by about the learning rate, so gains, which are of the order of 1, learn slowly beside weights drawn from
    N(0, 0.02²): a group of the optimizer with a higher rate is for them.

    Args:
        features: Channels.
        classes: How many classes.
        dimensions: 1 for (batch, features) and (batch, features, length), 2 for pictures.
    """

    def __init__(self, features: int, classes: int, dimensions: int = 2) -> None:
        super().__init__()
        norms = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
        if dimensions not in norms:
            raise ValueError(f"ConditionalBatchNorm: dimensions = {dimensions}, and 1 and 2 are allowed")
        self.norm = norms[dimensions](features, affine=False)
        self.gain, self.bias = nn.Embedding(classes, features), nn.Embedding(classes, features)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Normalise (batch, features, …) by the batch, then scale and shift by ``label``, int64 (batch,)."""
        normed = self.norm(x)
        shape = (*x.shape[:2], *[1] * (x.ndim - 2))
        # Under autocast as narrow as batch norm's output is: in float32 a DCGAN's step takes a tenth longer.
        gain, bias = (row(label).view(shape).to(normed.dtype) for row in (self.gain, self.bias))
        return torch.addcmul(bias, gain, normed)


class Projection(nn.Module):
    """What a discriminator's score gains by the class: the inner product of its embedding and the features.

    Miyato and Koyama 2018: the score is psi(phi(x)) + v_y · phi(x), where phi are the features
    before the last layer, psi. Embeddings are drawn from N(0, 1 / features), so that the product of features
    of the order of 1 is of the order of 1, too.

    Args:
        features: Length of phi(x).
        classes: How many classes.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, features)
        nn.init.normal_(self.embedding.weight, 0.0, features**-0.5)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (batch, features) and ``label``, int64 (batch,), to (batch,)."""
        product: Tensor = (self.embedding(label) * features).sum(1)
        return product
