"""The three products of a convolution, each of which is the other two's derivative.

With pictures x, weights w and a convolution's output y:

- ``forward``: y from x and w,
- ``input``: x from y and w, which is the gradient by the input, and what a transposed convolution computes,
- ``weight``: w from y and x, the gradient by the weights.

Each is linear in both of its factors. So its derivative by either factor is again one of the three, and one
autograd function with a table of them can be differentiated any number of times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mmgan_convolutions.plan import Plan

Kind = Literal["forward", "input", "weight"]
#: (height, width)
Pair = tuple[int, int]

#: By the kind of a product a · b: the kinds of the derivatives by a and by b, given the gradient g of the
#: result, and which two of (g, a, b) are their factors.
DERIVATIVES: dict[Kind, tuple[tuple[Kind, int, int], tuple[Kind, int, int]]] = {
    "forward": (("input", 0, 2), ("weight", 0, 1)),
    "input": (("forward", 0, 2), ("weight", 1, 0)),
    "weight": (("forward", 2, 0), ("input", 1, 0)),
}


class Geometry(NamedTuple):
    """Where filters are applied. All values are (height, width).

    Args:
        size: The size of the pictures x.
        kernel: The size of the filters.
        stride: Steps between two places.
        padding: Zeros at each edge.
    """

    size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair

    @property
    def places(self) -> Pair:
        """The numbers of places where a filter is applied: the size of y."""
        height, width = (
            (size + 2 * edge - kernel) // stride + 1 for size, kernel, stride, edge in zip(*self, strict=True)
        )
        return height, width

    def places_in(self, batch: int) -> int:
        """Return the number of places over all pictures of a batch."""
        height, width = self.places
        return batch * height * width


class Product(torch.autograd.Function):
    """One of the three products, in the form that a plan chooses for it.

    ``Product.apply(kind, a, b, geometry, plan, may_measure)``. The factors are x (batch, in, height, width),
    y (batch, out, …) and w (out, in, …): x and w for ``forward``, y and w for ``input``, y and x for
    ``weight``.
    """

    @staticmethod
    def forward(
        ctx: Any, kind: Kind, a: Tensor, b: Tensor, geometry: Geometry, plan: Plan, may_measure: bool
    ) -> Tensor:
        """Compute the product in the number format of its factors; in training the plan may measure."""
        ctx.kind, ctx.rest = kind, (geometry, plan, may_measure)
        ctx.save_for_backward(a, b)
        with torch.autocast("cpu", enabled=False):
            result = plan.compute(kind, a, b, geometry, may_measure)
        # The same numbers, but not a view: an activation may work in place on a layer's result.
        whole = result.untyped_storage()
        return result.new_empty(0).set_(whole, result.storage_offset(), result.shape, result.stride())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by the two factors that need one."""
        factors = (gradient, *ctx.saved_tensors)
        by_a, by_b = (
            Product.apply(kind, factors[i], factors[j], *ctx.rest) if wanted(ctx, 1 + place, place) else None
            for place, (kind, i, j) in enumerate(DERIVATIVES[ctx.kind])
        )
        return None, by_a, by_b, None, None, None


def wanted(ctx: Any, index: int, tensor: int | None = None) -> bool:
    """Whether the current backward pass needs a gradient: a penalty's inner one does not need the weights'.

    torch's own functions know that; a function in Python can only ask a private function. If that is removed
    one day, gradients that are not needed cost a tenth of the time again, and nothing else changes.

    Args:
        ctx: Of the autograd function.
        index: Of the input whose gradient it is.
        tensor: The same among those inputs that are tensors, where others come before it.
    """
    if not ctx.needs_input_grad[index]:
        return False
    will_run = getattr(torch._C, "_will_engine_execute_node", None)
    try:
        return will_run is None or will_run(ctx.next_functions[index if tensor is None else tensor][0])
    except RuntimeError:
        # It raises for a leaf whose gradient is asked for.
        return True
