"""SeqGAN's game: its stages, losses and samples."""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

from mmgan import Phase, Player, Samples, Stage, Task, TextSamples, UsageError
from mmgan.counting import counted
from mmgan.data.text.dataset import TextData
from mmgan.data.text.tokenizers import UNKNOWN, tokenizer_from_state
from mmgan.extras import need
from mmgan.samples import Tradeoff
from mmgan_seqgan.config import SeqGANConfig
from mmgan_seqgan.measures import decoded, scores, tradeoff, write, write_in_parts
from mmgan_seqgan.negatives import Negatives
from mmgan_seqgan.networks import START, Discriminator, Generator
from mmgan_seqgan.oracle import Numbers
from mmgan_seqgan.rewards import shape
from mmgan_seqgan.rollouts import generate, rewards


class SeqGAN(Task[SeqGANConfig]):
    """A generator of sequences that learns by policy gradient to convince a discriminator.

    Tokens are discrete, so no gradient passes from D to G. G is an agent, a token an action, and D's score of
    the finished sequence the reward (Yu et al. 2017). First G learns by likelihood, then D learns to
    recognise its sequences, then both learn against each other.
    """

    Config = SeqGANConfig
    data_kind = "texts"
    sample_settings = frozenset({"temperature"})
    # The tokenizer belongs to the run, and held-out texts must stay held out.
    fixed_settings = frozenset({"tokenizer", "vocabulary", "length", "held_out", "column", "preset"})

    @property
    def best_score(self) -> str:
        """``nll_oracle``; "" for texts, which no single score ranks."""
        return "nll_oracle" if self.on_oracle else ""

    @property
    def on_oracle(self) -> bool:
        """Whether the data is the oracle's."""
        return self.config.on_oracle

    @property
    def ends(self) -> bool:
        """Whether a token ends a sequence; the oracle's all have the same length."""
        return not self.on_oracle

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Likelihood, then D alone, then one update of G for every n of D."""
        c = self.config
        stages = (
            Stage("pretrain-g", (Phase("MLE", "MLE"),), c.mle_steps),
            Stage("pretrain-d", (Phase("D", "D"),), c.pretrain_d_steps),
            Stage("adversarial", (Phase("G", "G", every=c.iteration_steps), Phase("D", "D"))),
        )
        return tuple(stage for stage in stages if stage.steps != 0)

    def build(self) -> dict[str, Player]:
        """Make G and D. The vocabulary is the data's, and in a resumed run the checkpoint's."""
        c = self.config
        self.tokenizer: Any = self.open_tokenizer()
        vocabulary = len(self.tokenizer)
        self.g = Generator(vocabulary, c.embedding, c.hidden, c.generator, length=c.length)
        self.d = Discriminator(vocabulary, c.length, dropout=c.dropout)
        #: G after likelihood training, for comparison with the final G.
        self.taught = self.frozen_copy()
        #: The policy of the rollouts, if it lags behind G.
        self.policy = self.frozen_copy() if c.lag else self.g
        self.negatives = Negatives(c, self.write)
        return {
            # One network with two optimizers, as in the paper's code: the momentum of likelihood is not kept.
            "MLE": Player(self.g, Adam(self.g.parameters(), c.mle_lr), clip_norm=c.clip_norm),
            "G": Player(self.g, Adam(self.g.parameters(), c.lr), clip_norm=c.clip_norm),
            "D": Player(self.d, Adam(self.d.parameters(), c.d_lr)),
        }

    def open_tokenizer(self) -> Any:
        """Return the oracle's tokenizer, the one that the run was saved with, or a new one."""
        if self.on_oracle:
            return Numbers(self.config.vocabulary)
        if self.run.saved:
            return tokenizer_from_state(self.run.saved.get("tokenizer", {}))
        return self.data().tokenizer

    def data(self) -> Any:
        """Open the texts, or the oracle's sequences: int64 (batch, length)."""
        if not hasattr(self, "_data"):
            if not self.on_oracle:
                # Its samples have a picture by BLEU: better said now than at the first of them.
                need("sacrebleu", "text", "SeqGAN on texts")
            source = self.run.open_data("tokens" if self.on_oracle else "texts")
            known = self.tokenizer if hasattr(self, "tokenizer") else None
            self._data = source if self.on_oracle else TextData(source, self.config, known, self.run.progress)
        return self._data

    def frozen_copy(self) -> Any:
        """Copy G to the run's device: the engine only moves players."""
        return copy.deepcopy(self.g).requires_grad_(False).to(self.run.device.torch)

    # The three losses.

    def loss(self, phase: str, batch: Tensor, shared: None) -> dict[str, Tensor]:
        """Return G's likelihood loss, D's classification loss, or G's policy-gradient loss."""
        if phase == "MLE":
            return {"MLE/nll": self.likelihood(batch)}
        if self.run.players["D"].updates == 0 and self.run.players["G"].updates == 0:
            # The likelihood stage is over, and the adversarial one begins.
            for copied in {self.taught, self.policy} - {self.g}:
                copied.load_state_dict(self.g.state_dict())
        return self.discriminate(batch) if phase == "D" else {"G/policy": self.policy_gradient(len(batch))}

    def likelihood(self, tokens: Tensor) -> Tensor:
        """Return the negative log-likelihood of real sequences under G, in nats a token."""
        counted = self.counted(tokens)
        return (self.losses(tokens) * counted).sum() / counted.sum()

    def discriminate(self, batch: Tensor) -> dict[str, Tensor]:
        """Return D's cross entropy on as many real sequences as generated ones, and its weight decay."""
        real = batch[: self.config.share]
        fake = self.negatives.batch(self.run.players["D"].updates).to(real.device)
        kinds = torch.cat([torch.ones_like(real[:, 0]), torch.zeros_like(fake[:, 0])])
        output = self.d.output
        return {
            "D/ce": F.cross_entropy(self.d(torch.cat([real, fake])), kinds),
            "D/l2": self.config.l2 / 2 * (output.weight.square().sum() + output.bias.square().sum()),
        }

    def policy_gradient(self, count: int) -> Tensor:
        """Return REINFORCE's loss: minus the log-probability of each token that G drew, times its reward.

        Summed over tokens and sequences, as in the paper's code; the reward is a constant (equation 8).
        """
        c = self.config
        if c.lag:
            self.follow()
        tokens = self.write(count)
        value = self.value(tokens)
        counted = self.counted(tokens)
        reward = shape(value, counted, c.rescale, c.baseline)
        return (self.losses(tokens) * reward * counted).sum()

    def value(self, tokens: Tensor) -> Tensor:
        """Estimate each token's action value by rollouts that D scores: (batch, length) in [0, 1]."""
        c = self.config
        return rewards(self.policy, self.d, tokens, c.rollouts, c.rollout_rows, self.ends)

    def losses(self, tokens: Tensor) -> Tensor:
        """Return minus the log-probability of each token under G: (batch, length)."""
        logits = self.g(tokens).flatten(0, 1).float()
        return F.cross_entropy(logits, tokens.flatten(), reduction="none").view(tokens.shape)

    def counted(self, tokens: Tensor) -> Tensor:
        """Return 1 for tokens up to the one that ends a sequence, and 0 for padding: (batch, length)."""
        if not self.ends:
            return torch.ones_like(tokens, dtype=torch.float32)
        over = (tokens == START).cumsum(1) - (tokens == START).long()
        return (over == 0).float()

    def write(self, count: int) -> Tensor:
        """Sample sequences from the current G: int64 (count, length)."""
        return generate(self.g, count, self.config.length, self.ends)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the policy of the rollouts towards G."""
        policy: list[Tensor] = list(self.policy.parameters())
        torch._foreach_lerp_(policy, list[Tensor](self.g.parameters()), 1 - self.config.lag)

    # Samples for the user.

    def sample(self, n: int) -> TextSamples:
        """Sample ``n`` texts; if the data is open, with a plot of quality against diversity."""
        # The texts first: they must be the same whether the data is open or not.
        texts = self.texts(n)
        return TextSamples(texts, self.tradeoff())

    def sample_chunks(self, n: int, prompt: str = "") -> Iterator[Samples]:
        """Sample ``n`` texts in parts; without a prompt, the last part has the plot."""
        begun, left = self.encoded(prompt) if prompt else [], n
        for part in write_in_parts(self, self.g, n, self.config.temperature, begun):
            left -= len(part)
            yield TextSamples(decoded(self, part), None if left or prompt else self.tradeoff())

    def tradeoff(self) -> Tradeoff | None:
        """Plot quality against diversity, if the data is open."""
        if not self.run.data_is_open:
            return None
        generators = {"likelihood alone": self.taught, "adversarial": self.g}
        if self.run.players["G"].updates == 0:
            generators = {"likelihood": self.g}
        return tradeoff(self, generators)

    def complete(self, n: int, prompt: str) -> TextSamples:
        """Write ``n`` texts that begin with a prompt."""
        return TextSamples(self.texts(n, self.encoded(prompt)))

    def encoded(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt.

        Raises:
            UsageError: It is too long, or has tokens that are not in the run's vocabulary.
        """
        # Normalised as texts are when they are read.
        prompt = unicodedata.normalize("NFC", prompt.encode(errors="replace").decode())
        tokens: list[int] = self.tokenizer.encode(prompt)
        if self.ends and UNKNOWN in tokens:
            raise UsageError(
                f"The prompt {prompt!r} holds a character or word that is not in the run's vocabulary.",
                hint="Take words from the texts that the run was trained on.",
            )
        if len(tokens) >= self.config.length:
            raise UsageError(
                f"The prompt has {counted(len(tokens), 'token')}, "
                f"and the run's texts at most {self.config.length}.",
                hint="A shorter --prompt leaves something to write.",
            )
        return tokens

    def texts(self, n: int, prompt: Sequence[int] = ()) -> list[str]:
        """Write ``n`` texts after a prompt of tokens, at the temperature of the settings."""
        return decoded(self, write(self, self.g, n, self.config.temperature, prompt))

    def evaluate(self, n: int) -> dict[str, float]:
        """Score ``n`` sequences (0: 2,000, or 9,984 for the oracle), and the likelihood of held-out ones."""
        return scores(self, self.g, n)

    def state_dict(self) -> dict[str, Any]:
        """Return the tokenizer, the generated texts that D is learning from, and G's copies."""
        state = {
            "tokenizer": self.tokenizer.state(),
            "negatives": self.negatives.tokens,
            "taught": self.taught.state_dict(),
        }
        return state | ({"policy": self.policy.state_dict()} if self.config.lag else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`; the tokenizer was read when the networks were built."""
        tokens = state["negatives"]
        if tokens is not None and not self.are_tokens(tokens):
            raise ValueError("the generated texts are not tokens of the vocabulary")
        self.negatives.tokens = tokens
        for name, copied in (
            ("taught", self.taught),
            *([("policy", self.policy)] if self.config.lag else []),
        ):
            copied.load_state_dict(state[name])
            if not all(bool(value.isfinite().all()) for value in copied.parameters()):
                raise ValueError(f"the network {name} is NaN or infinite")

    def are_tokens(self, tokens: Any) -> bool:
        """Whether these are sequences of the vocabulary: int64 (n, length)."""
        return (
            isinstance(tokens, Tensor)
            and tokens.dtype == torch.int64
            and tokens.ndim == 2
            and tokens.shape[1] == self.config.length
            and bool(((tokens >= 0) & (tokens < len(self.tokenizer))).all())
        )
