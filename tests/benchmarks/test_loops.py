"""The loops of the cases: those without the engine compute what mmgan computes, and all answer when asked."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch

import mmgan
from mmgan.data.loader import Loader
from mmgan.engine import play, training
from mmgan_seqgan.networks import Discriminator, Generator
from mmgan_seqgan.rollouts import rewards

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import bare_seqgan
import same_seqgan
from cases import CASES, Case
from plain import LOOPS
from tiny_cases import TINY, tiny
from worker import SAME, asked, by_hand, new_run, through_the_engine


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("game", TINY)
def test_the_same_weights_after_the_same_steps(game: str, precision: str) -> None:
    case = tiny(game, precision)
    run = new_run(case)
    loader = Loader(run.dataset, run.config.batch_size, run.config.seed)
    torch.manual_seed(run.config.seed)
    loop = SAME[case.game](run.config, lambda: next(loader))
    for name, module in (("G", loop.g), ("D", loop.d)):
        assert_equal(module, run.players[name].module)
    before = [parameter.clone() for parameter in loop.g.parameters()]
    for _ in range(3):
        loop.step()
    with training(run):
        for steps in asked(io.StringIO(f"{3 * case.engine_steps}\n"), io.StringIO()):
            play(run, run.step + steps)
    for name, module in (("G", loop.g), ("D", loop.d)):
        assert_equal(module, run.players[name].module)
    assert any(not torch.equal(one, other) for one, other in zip(before, loop.g.parameters(), strict=True))


def assert_equal(one: torch.nn.Module, other: torch.nn.Module) -> None:
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-5, atol=1e-6)


def test_optimizers_and_memory_formats_are_those_of_the_engine() -> None:
    run = new_run(tiny("dcgan"))
    loop = SAME["dcgan"](run.config, lambda: None)
    for name, module, optimizer in (("G", loop.g, loop.g_opt), ("D", loop.d, loop.d_opt)):
        player = run.players[name]
        assert optimizer.defaults["fused"] is True
        assert player.optimizer.param_groups[0]["fused"] is True
        for one, other in zip(module.modules(), player.module.modules(), strict=True):
            assert type(one) is type(other)
        for one, other in zip(module.parameters(), player.module.parameters(), strict=True):
            assert one.stride() == other.stride()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_has_settings_loops_and_no_average(case: Case) -> None:
    config = case.config(mmgan.Plugins())
    assert getattr(config, "ema", 0) == 0
    assert case.engine_steps == getattr(config, "iteration_steps", 1) or not case.through_the_engine
    assert config.precision == case.precision
    assert (config.sample_every, config.checkpoint_every, config.evaluate_every) == (0, 0, 0)


# The protocol.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loop", "game"),
    [*(("plain", game) for game in (*LOOPS, "dcgan-r1r2")), *(("same", game) for game in SAME)],
)
def test_a_loop_by_hand_answers_every_line(loop: str, game: str) -> None:
    answers = io.StringIO()
    by_hand(tiny(game), loop, asked(io.StringIO("1\n2\noperations\n"), answers))
    one, two, operations = map(float, answers.getvalue().split())
    assert min(one, two) > 0
    assert operations > 0


@pytest.mark.slow
def test_the_engine_plays_so_many_steps_for_one_of_a_bare_loop() -> None:
    case, answers = tiny("seqgan"), io.StringIO()
    played = []
    program = asked(io.StringIO("1\noperations\n2\n"), answers)
    through_the_engine(case, (played.append(steps) or steps for steps in program))
    assert played == [1, 1, 2]
    _, operations, _ = map(float, answers.getvalue().split())
    bare = io.StringIO()
    by_hand(case, "same", asked(io.StringIO("operations\n"), bare))
    assert operations == float(bare.getvalue())


def test_operations_are_those_of_the_loop_without_the_engine() -> None:
    found = []
    for loop in (through_the_engine, lambda case, program: by_hand(case, "same", program)):
        answers = io.StringIO()
        loop(tiny("cyclegan"), asked(io.StringIO("operations\n"), answers))
        found.append(float(answers.getvalue()))
    assert found[0] == found[1] > 0


# The plain port of SeqGAN, beside mmgan's from equal weights.


VOCABULARY = TINY["seqgan"]["vocabulary"]


def ported(g: Generator, d: Discriminator) -> tuple[bare_seqgan.Generator, bare_seqgan.Discriminator]:
    """Return the plain port's networks with the same weights, without dropout."""
    bare_g, bare_d = bare_seqgan.Generator(VOCABULARY), bare_seqgan.Discriminator(VOCABULARY)
    bare_d.dropout.p = 0.0
    pairs = [(bare_g.embedding, g.embedding), (bare_g.lstm, g.recurrent), (bare_g.output, g.output)]
    pairs += [(bare_d.embedding, d.embedding), (bare_d.output, d.output)]
    pairs += [(bare_d.gate, d.highway.gate), (bare_d.transform, d.highway.transform)]
    for target, source in pairs:
        target.load_state_dict(source.state_dict())
    with torch.no_grad():
        for target, source in zip(bare_d.convolutions, d.convolutions, strict=True):
            target.weight.copy_(source.weight.transpose(1, 2)[:, None])
            target.bias.copy_(source.bias)
    return bare_g, bare_d


def test_the_plain_port_gives_a_whole_sequence_the_same_reward() -> None:
    g, d = Generator(VOCABULARY), Discriminator(VOCABULARY)
    tokens = torch.randint(VOCABULARY, (4, 20))
    plain = bare_seqgan.rewards(*ported(g, d), tokens, 2)
    ours = rewards(g, d, tokens, 2)
    assert plain.shape == ours.shape
    torch.testing.assert_close(plain[:, -1], ours[:, -1])


def test_the_plain_port_updates_both_networks_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given what is drawn: sequences, and what they are worth."""
    config = tiny("seqgan").config(mmgan.Plugins()).model_copy(update={"dropout": 0.0})
    real, written = torch.randint(VOCABULARY, (2, 4, 20))
    # All alike, whatever their order.
    written[:] = written[:1]
    worth = torch.rand(4, 20)
    for module in (bare_seqgan, same_seqgan):
        monkeypatch.setattr(module, "rewards", lambda *_: worth)
        monkeypatch.setattr(module, "generate", lambda g, count, length: written[:1].expand(count, -1))
    loop = SAME["seqgan"](config, lambda: real)
    g, d = ported(loop.g, loop.d)
    monkeypatch.setattr(bare_seqgan, "Generator", lambda vocabulary: g)
    monkeypatch.setattr(bare_seqgan, "Discriminator", lambda vocabulary: d)
    before = d.output.weight.clone()
    LOOPS["seqgan"](config, lambda: real)()
    loop.step()
    bare_g, bare_d = ported(loop.g, loop.d)
    for one, other in ((g, bare_g), (d, bare_d)):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-3, atol=1e-5)
    assert not torch.equal(before, d.output.weight)
