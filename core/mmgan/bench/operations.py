"""How many floating-point operations a step has."""

from __future__ import annotations

from torch.utils.flop_counter import FlopCounterMode


class Operations(FlopCounterMode):
    """A context that counts the operations of matrix products, convolutions and attention.

    A multiplication and an addition count as two. Everything else counts as 0: sums, activations,
    normalisation, optimizers, and fused kernels that torch has no formula for, such as an LSTM's on a CPU. A
    custom autograd function counts as the operations that it calls, and so does a second backward pass.
    """

    def __init__(self) -> None:
        super().__init__(display=False)
        # The tracker of modules can't follow a gradient inside a loss.
        self.mod_tracker = _Whole()  # type: ignore[assignment]


class _Whole:
    """Counts the whole step, not its modules."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass
