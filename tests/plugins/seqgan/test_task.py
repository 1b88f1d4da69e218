"""The settings and the rules of the game."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import mmgan
from mmgan.engine import update
from mmgan.task import stage_at
from mmgan_seqgan.config import SeqGANConfig
from mmgan_seqgan.negatives import Negatives
from mmgan_seqgan.oracle import nll
from mmgan_seqgan.rewards import shape

Play = Callable[..., mmgan.Run]


def settings(**flags: Any) -> SeqGANConfig:
    return mmgan.resolve(SeqGANConfig, "seqgan", flags=flags, environment={})


# Settings.


def test_the_paper_s_experiment() -> None:
    c = settings(preset="paper")
    assert (c.vocabulary, c.length, c.embedding, c.hidden, c.batch_size) == (5000, 20, 32, 32, 64)
    assert (c.mle_steps, c.negatives, c.rollouts, c.lag) == (18_720, 9_984, 16, 0)
    assert (c.mle_lr, c.lr, c.d_lr, c.clip_norm, c.dropout, c.l2) == (1e-2, 1e-2, 1e-4, 5, 0.25, 0.2)
    # 32 real and 32 generated sequences in a batch: 312 batches are an epoch of 9,984 of each.
    assert c.epoch_steps == 312
    assert c.pretrain_d_steps == 50 * 3 * 312
    assert c.iteration_steps == 5 * 3 * 312
    assert c.steps == 18_720 + c.pretrain_d_steps + 200 * c.iteration_steps


def test_alone_it_plays_the_paper_s_game_in_small() -> None:
    c = settings()
    assert c == settings(preset="paper-small").model_copy(update={"preset": "auto"})
    assert (c.pretrain_d_steps, c.iteration_steps, c.iterations) == (5 * 3 * 312, 312, 60)


def test_texts_have_defaults_of_their_own() -> None:
    c = settings(data="poems.txt")
    assert (c.length, c.hidden, c.negatives) == (32, 256, 2048)
    assert settings(data="poems.txt", hidden=64).hidden == 64


def test_steps_that_are_given_stand() -> None:
    assert settings(steps=7).steps == 7


def test_a_resolved_config_stays_as_it_is(tmp_path: Path) -> None:
    c = settings(iterations=2)
    file = tmp_path / "config.toml"
    file.write_text(mmgan.config.to_toml(c))
    assert mmgan.resolve(SeqGANConfig, "seqgan", file=file, environment={}) == c


def test_a_transformer_s_width_is_a_multiple_of_its_heads() -> None:
    with pytest.raises(mmgan.ConfigError, match="multiple of 4"):
        settings(generator="transformer", hidden=30)


# Stages.


def test_stages_in_their_order(play: Play) -> None:
    run = play()
    names = [stage_at(run.stages, step)[0].name for step in range(run.config.steps)]
    # 8 negatives, 4 in a batch: 2 updates are an epoch.
    assert names == ["pretrain-g"] * 4 + ["pretrain-d"] * 8 + ["adversarial"] * 12


@pytest.mark.slow
def test_who_is_updated_when(play: Play) -> None:
    run = play(train=True)
    assert {name: player.updates for name, player in run.players.items()} == {"MLE": 4, "G": 3, "D": 8 + 12}


def test_stages_of_no_length_are_left_out(play: Play) -> None:
    run = play(mle_steps=0, pretrain_rounds=0, train=True)
    assert [stage.name for stage in run.stages] == ["adversarial"]
    assert run.players["MLE"].updates == 0


def test_a_phase_changes_its_own_player_only(play: Play) -> None:
    run = play()
    task = run.task
    batch = run.next_batch()

    def weights() -> dict[str, list[Tensor]]:
        return {name: [p.clone() for p in getattr(task, name).parameters()] for name in ("g", "d")}

    for phase, changed in (("MLE", "g"), ("D", "d"), ("G", "g")):
        before = weights()
        stage = next(s for s in run.stages if any(p.name == phase for p in s.phases))
        update(run, next(p for p in stage.phases if p.name == phase), batch, None)
        for name, old in weights().items():
            same = all(torch.equal(a, b) for a, b in zip(before[name], old, strict=True))
            assert same == (name != changed), (phase, name)


@pytest.mark.slow
def test_likelihood_s_generator_is_kept(play: Play) -> None:
    run = play(steps=5)
    for step in range(5):
        if step == 4:
            before = {name: tensor.clone() for name, tensor in run.task.g.state_dict().items()}
        stage, index = stage_at(run.stages, step)
        run.task.step(run, stage, index)
        run.step += 1
    assert all(torch.equal(before[name], tensor) for name, tensor in run.task.taught.state_dict().items())
    trained = play(train=True)
    assert not torch.equal(trained.task.taught.output.weight, trained.task.g.output.weight)


# Losses.


def test_likelihood_is_the_mean_over_tokens_and_uniform_at_first(play: Play) -> None:
    run = play()
    for parameter in run.task.g.parameters():
        torch.nn.init.zeros_(parameter)
    batch = run.next_batch()
    assert run.task.likelihood(batch).item() == pytest.approx(torch.tensor(40.0).log().item(), rel=1e-6)
    assert nll(run.task.g, batch) == pytest.approx(torch.tensor(40.0).log().item(), rel=1e-6)


def test_padding_counts_for_nothing(play: Play, rhymes: Path) -> None:
    run = play(data=str(rhymes), tokenizer="word", length=9, preset="text")
    task = run.task
    tokens = torch.tensor([[2, 3, 0, 0, 0, 0, 0, 0, 0], [2, 3, 4, 5, 6, 7, 8, 9, 10]])
    assert task.counted(tokens).tolist() == [[1, 1, 1, 0, 0, 0, 0, 0, 0], [1] * 9]
    losses = task.losses(tokens)
    assert task.likelihood(tokens).item() == pytest.approx(
        ((losses[0, :3].sum() + losses[1].sum()) / 12).item()
    )
    # A text that begins with the boundary is an empty one, and its one token counts.
    assert task.counted(torch.zeros(1, 9, dtype=torch.int64)).sum() == 1


def test_what_has_ended_stays_ended(play: Play, rhymes: Path) -> None:
    task = play(data=str(rhymes), tokenizer="word", length=9, preset="text").task
    tokens = task.write(200)
    for row in tokens.tolist():
        if 0 in row:
            assert not any(row[row.index(0) :])
    assert (tokens == 0).any()


def test_d_s_loss(play: Play) -> None:
    run = play(dropout=0.0)
    task, batch = run.task, run.next_batch()
    task.negatives.batch(0)
    run.players["D"].updates = 1  # the round's second batch
    losses = task.discriminate(batch)
    logits = task.d(torch.cat([batch[:4], task.negatives.batch(1)]))
    expected = -torch.cat([logits.log_softmax(1)[:4, 1], logits.log_softmax(1)[4:, 0]]).mean()
    torch.testing.assert_close(losses["D/ce"], expected)
    output = task.d.output
    squares = sum(float((p.detach() ** 2).sum()) for p in output.parameters())
    assert losses["D/l2"].item() == pytest.approx(0.2 * 0.5 * squares, rel=1e-5)


def test_the_policy_gradient_s_loss(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    task = play().task
    tokens, value = torch.randint(40, (5, 8)), torch.rand(5, 8)
    monkeypatch.setattr(task, "write", lambda count: tokens)
    monkeypatch.setattr(task, "value", lambda _: value)
    log_p = task.g(tokens).log_softmax(2).gather(2, tokens[..., None])[..., 0]
    torch.testing.assert_close(task.policy_gradient(5), -(log_p * value).sum())


def test_rewards_are_given_without_dropout_and_the_last_is_d_s_opinion(play: Play) -> None:
    task = play(dropout=0.9).task
    tokens = task.write(4)
    assert task.d.training
    assert torch.equal(task.value(tokens)[:, -1], task.d.probability(tokens))
    assert torch.equal(task.d.probability(tokens), task.d.probability(tokens))
    assert task.d.dropout.training
    task.d.eval()
    torch.testing.assert_close(task.d.probability(tokens), task.d(tokens).softmax(1)[:, 1])


@pytest.mark.slow
def test_a_bandit_learns_what_d_likes(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """D likes token 7 and nothing else: by policy gradient alone G comes to write little else."""
    torch.manual_seed(0)
    run = play(batch_size=32)
    task = run.task
    monkeypatch.setattr(task.d, "judge", lambda tokens: (tokens == 7).float().mean(-1))
    phase = run.stages[-1].phases[0]
    assert phase.name == "G"
    assert (task.write(200) == 7).float().mean() < 0.1
    for _ in range(60):
        update(run, phase, torch.zeros(32, 8, dtype=torch.int64), None)
    assert (task.write(200) == 7).float().mean() > 0.9


# Rewards and rounds.


def test_rewards_as_they_are() -> None:
    values = torch.rand(4, 3)
    assert shape(values, torch.ones(4, 3)) is values


def test_a_baseline_takes_the_mean_of_what_counts() -> None:
    values = torch.tensor([[0.2, 0.4], [0.6, 0.9]])
    counted = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    shaped = shape(values, counted, baseline="mean")
    torch.testing.assert_close(shaped, torch.tensor([[-0.2, 0.0], [0.2, 0.5]]))


def test_ranks_instead_of_values() -> None:
    values = torch.tensor([[0.91], [0.90], [0.92], [0.0]])
    shaped = shape(values, torch.tensor([[1.0], [1.0], [1.0], [0.0]]), rescale="rank")
    expected = torch.sigmoid(12 * (0.5 - torch.tensor([2.0, 3.0, 1.0]) / 3))
    torch.testing.assert_close(shaped[:3, 0], expected)
    # Equal ones are equally good, in whatever order they come.
    shaped = shape(torch.tensor([[0.5], [0.5], [0.5], [0.9]]), torch.ones(4, 1), rescale="rank")
    torch.testing.assert_close(
        shaped[:, 0], torch.sigmoid(12 * (0.5 - torch.tensor([3.0, 3.0, 3.0, 1.0]) / 4))
    )


def test_rounds_of_negatives() -> None:
    """Made anew at a round's start, seen once in each epoch, in another order each time."""
    made: list[Tensor] = []

    def write(count: int) -> Tensor:
        made.append(torch.arange(count)[:, None] + 1000 * len(made))
        return made[-1]

    c = settings(batch_size=8, negatives=16, pretrain_rounds=1, pretrain_epochs=2, epochs=1)
    rounds = Negatives(c, write)
    batches = [rounds.batch(update)[:, 0] for update in range(16)]
    assert len(made) == 3  # one of two epochs of 4 updates, then one for each epoch
    for epoch in range(4):
        seen = torch.cat(batches[4 * epoch : 4 * epoch + 4])
        assert seen.sort().values.tolist() == made[max(0, epoch - 1)][:, 0].tolist()
    assert batches[0].tolist() != batches[4].tolist()


def test_a_resumed_round_goes_on_with_its_negatives() -> None:
    c = settings(batch_size=8, negatives=16, pretrain_rounds=1, pretrain_epochs=2)
    one = Negatives(c, lambda count: torch.rand(count, 3))
    expected = [one.batch(update) for update in range(8)]
    other = Negatives(c, lambda count: pytest.fail("they are made at a round's start only"))
    other.tokens = one.tokens
    assert all(torch.equal(other.batch(update), expected[update]) for update in range(3, 8))


@pytest.mark.slow
def test_the_policy_lags_behind(play: Play) -> None:
    assert play().task.policy is not None
    run = play(lag=0.75)
    task = run.task
    torch.nn.init.zeros_(task.g.output.bias)  # what likelihood has learned
    assert task.policy.output.bias.any()
    task.loss("D", run.next_batch(), None)
    assert torch.equal(task.policy.output.bias, task.g.output.bias)
    task.policy.output.bias.data.fill_(1.0)
    task.g.output.bias.data.fill_(0.0)
    task.follow()
    torch.testing.assert_close(task.policy.output.bias, torch.full((40,), 0.75))
    assert play(lag=0.5, train=True).players["G"].updates == 3


# The oracle.


@pytest.mark.slow
def test_the_oracle_is_known_by_its_number(play: Play) -> None:
    one, same, other = play(data="oracle:5"), play(data="oracle:5", seed=3), play(data="oracle:6")
    assert torch.equal(one.dataset.tokens, same.dataset.tokens)
    assert not torch.equal(one.dataset.tokens, other.dataset.tokens)
    assert one.dataset.tokens.shape == one.dataset.held_out.shape == (9_984, 8)
    for wrong in ("oracle:x", "oracle:" + 5_000 * "9"):
        with pytest.raises(mmgan.DataError, match="whole number"):
            play(data=wrong)
    assert settings(data="") == settings(data="oracle")


def test_the_oracle_finds_its_own_data_as_likely_as_its_entropy(play: Play) -> None:
    data = play().dataset
    tokens = data.tokens[:2_000]
    logits = data.oracle(tokens)
    entropy = torch.distributions.Categorical(logits=logits).entropy().mean().item()
    assert data.nll(tokens) == pytest.approx(entropy, abs=0.03)
    expected = F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).item()
    assert data.nll(tokens) == pytest.approx(expected, rel=1e-5)


# What a person gets.


@pytest.mark.slow
def test_scores_of_the_oracle_s_language(play: Play) -> None:
    run = play(train=True)
    found = run.evaluate(300)
    assert set(found) == {"nll_held_out", "nll_oracle", "unique"}
    assert run.task.best_score == "nll_oracle"


@pytest.mark.slow
def test_samples_of_the_oracle_s_language(play: Play) -> None:
    run = play(train=True)
    samples = run.sample(5)
    assert isinstance(samples, mmgan.TextSamples)
    assert all(len(line.split()) == 8 for line in samples.lines())
    assert samples.picture().size[0] > 100
    assert set(samples.tradeoff.curves) == {"likelihood alone", "adversarial"}
    assert all(line.startswith("7 11 ") for line in run.sample(5, prompt="7 11").lines())
    for wrong in ("cat", "40", 5_000 * "9"):
        with pytest.raises(mmgan.UsageError, match="not a token"):
            run.sample(5, prompt=wrong)
    # The same whether there is a picture beside them or not.
    run.task.run._loader = None
    assert run.sample(5).lines() == samples.lines()


def test_texts_from_a_file(play: Play, rhymes: Path) -> None:
    run = play(data=str(rhymes), tokenizer="word", length=9, preset="text", train=True)
    found = run.evaluate(100)
    assert {"nll_held_out", "bleu_2", "self_bleu_5", "unique", "copied"} <= set(found)
    assert run.task.best_score == ""
    assert all(line.startswith("the cat") for line in run.sample(5, prompt="the cat").lines())
    with pytest.raises(mmgan.UsageError, match="vocabulary"):
        run.sample(5, prompt="the unicorn")
    with pytest.warns(UserWarning, match=r"self_bleu_\d is left out: .* at least 2"):
        assert set(run.evaluate(1)) == {key for key in found if not key.startswith("self_")}
    with pytest.raises(mmgan.UsageError, match="9 tokens"):
        run.sample(5, prompt="the cat sat by the dog the cat sat")


def test_people_are_not_given_what_is_unknown(play: Play, rhymes: Path) -> None:
    task = play(data=str(rhymes), tokenizer="word", length=9, preset="text", vocabulary=6).task
    assert (task.write(500) == 1).any()
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(task.texts(500))


def test_a_prompt_is_read_as_texts_are(play: Play, tmp_path: Path) -> None:
    file = tmp_path / "cafes.txt"
    file.write_text("caf\u00e9 one\ncaf\u00e9 two\ncaf\u00e9 three\nthe caf\u00e9\n", encoding="utf-8")
    run = play(data=str(file), preset="text", tokenizer="word")
    assert run.sample(1, prompt="cafe\u0301").lines()[0].startswith("caf\u00e9")
    with pytest.raises(mmgan.UsageError, match="vocabulary"):
        run.sample(1, prompt="\udcff")


def test_a_temperature_that_is_0_in_float32_is_refused(play: Play) -> None:
    with pytest.raises(
        mmgan.ConfigError, match="temperature = 1e-300: Input should be greater than or equal to"
    ):
        play(temperature=1e-300)
    assert len(play(temperature=1e-38).sample(2)) == 2


def test_a_lower_temperature_is_more_certain(play: Play, rhymes: Path) -> None:
    def distinct(temperature: float) -> int:
        run = play(data=str(rhymes), preset="text", tokenizer="char", length=30, temperature=temperature)
        return len(set("".join(run.sample(50).lines())))

    assert distinct(0.05) < distinct(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("generator", ["lstm", "gru", "transformer"])
def test_every_generator_plays_in_every_precision(play: Play, generator: str, precision: str) -> None:
    run = play(generator=generator, precision=precision, rescale="rank", baseline="mean", train=True)
    assert run.players["G"].updates == 3
    assert len(run.sample(3)) == 3


@pytest.mark.slow
def test_a_saved_run_is_sampled_without_its_data(play: Play, rhymes: Path, tmp_path: Path) -> None:
    run = play(data=str(rhymes), tokenizer="word", length=9, preset="text", train=True, keep=True)
    expected = run.sample(4, 3).lines()
    rhymes.unlink()
    again = mmgan.load_run(tmp_path / "run")
    assert not again.data_is_open
    assert again.sample(4, 3).lines() == expected
    assert again.sample(4, 3, prompt="the cat").lines()[0].startswith("the cat")
