"""What is compiled, and that a penalty never is."""

from __future__ import annotations

import copy
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import Toy, toy_run

import mmgan
from mmgan.backend.compiling import compile_network
from mmgan.backend.device import Device
from mmgan.backend.precision import Precision, differentiate
from mmgan.losses import gradient_penalty

#: Layers whose gradients torch.compile has lost (pytorch issue 181581).
CRITIC = nn.Sequential(nn.Linear(3, 16), nn.LeakyReLU(0.2), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))


def penalised(critic: nn.Module, inputs: Tensor, compiled: bool) -> list[Tensor]:
    """Return the gradients of a penalty by a critic's weights."""
    _, gradient = differentiate(Precision(Device("cpu"), "fp32"), critic, inputs, compiled=compiled)
    return list(torch.autograd.grad(gradient_penalty(gradient), critic.parameters(), allow_unused=True))


def same(one: list[Any], two: list[Any]) -> bool:
    pairs = zip(one, two, strict=True)
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count calls of compiled code, without a compiler."""
    made: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        def run(*args: Any) -> Any:
            made.append("compiled")
            return graph.forward(*args)

        return run

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: backend)
    torch._dynamo.reset()
    return made


def test_a_penalty_is_not_compiled(calls: list[str]) -> None:
    torch.manual_seed(0)
    critic, compiled = CRITIC, copy.deepcopy(CRITIC)
    compile_network("D", compiled)
    inputs = torch.randn(4, 3)
    compiled(inputs)
    assert calls == ["compiled"]
    plain = penalised(critic, inputs.clone().requires_grad_(), False)
    assert same(plain, penalised(compiled, inputs.clone().requires_grad_(), True))
    assert calls == ["compiled"], "inside a penalty the network runs as it is written"
    compiled(inputs)
    assert calls == ["compiled"] * 2


def test_a_run_that_is_compiled_says_so_to_its_penalties(calls: list[str]) -> None:
    class Penalised(Toy):
        def forward(self, batch: Tensor) -> Tensor:
            return self.g(self.latents(len(batch)))

        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            losses = super().loss(phase, batch, shared)
            if phase == "D":
                calls.append("penalty")
                losses["D/r1"] = self.run.grad(self.d, batch.clone().requires_grad_())[1].square().sum()
                calls.append("end")
            return losses

    run = toy_run(task=Penalised, steps=2, compile=True)
    mmgan.train(run)
    assert "compiled" in calls
    begins = [place for place, call in enumerate(calls) if call == "penalty"]
    assert len(begins) == 2
    assert all(calls[begin + 1] == "end" for begin in begins)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_the_gradient_of_a_compiled_critics_penalty_is_the_plain_one() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    compiled = copy.deepcopy(CRITIC)
    compile_network("D", compiled)
    inputs = torch.randn(4, 3)
    torch.testing.assert_close(compiled(inputs), CRITIC(inputs))
    plain = penalised(CRITIC, inputs.clone().requires_grad_(), False)
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in plain)
    assert same(plain, penalised(compiled, inputs.clone().requires_grad_(), True))
    torch._dynamo.reset()
