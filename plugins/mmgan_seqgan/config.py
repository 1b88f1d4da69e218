"""SeqGAN's settings, and the named sets of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mmgan.data.text.dataset import TextConfig

#: Attention heads of a transformer.
HEADS = 4

#: The network and the settings of the published experiment with an oracle.
PAPER: dict[str, Any] = {
    "length": 20,
    "embedding": 32,
    "hidden": 32,
    "mle_lr": 1e-2,
    "lr": 1e-2,
    "negatives": 9_984,
    "pretrain_epochs": 3,
    "checkpoint_every": 1_560,
}
#: Values that replace the defaults below; settings given by the user override them. An epoch of likelihood
#: has 156 batches, and one of D has 312, since D also sees as many generated sequences.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": PAPER
    | {
        "mle_steps": 120 * 156,
        "pretrain_rounds": 50,
        "iterations": 200,
        "rounds": 5,
        "epochs": 3,
        "sample_every": 23_400,
        "evaluate_every": 4_680,
    },
    # The same game, small enough for two cores.
    "paper-small": PAPER
    | {
        "mle_steps": 80 * 156,
        "pretrain_rounds": 5,
        "iterations": 60,
        "rounds": 1,
        "epochs": 1,
        "sample_every": 3_120,
        "evaluate_every": 1_560,
    },
    "text": {"sample_every": 300, "evaluate_every": 300},
}


class SeqGANConfig(TextConfig):
    """The settings; the defaults suit a file of some thousand short texts."""

    preset: Literal["auto", "paper", "paper-small", "text"] = Field(
        "auto",
        description="a set of defaults: the paper's experiment, a small form of it, or one for texts; "
        "auto: paper-small for the oracle, else text",
    )
    data: str = Field("oracle", description="a file or folder of texts, one a line; oracle, or oracle:SEED")
    vocabulary: int = Field(
        5000, ge=4, description="largest size of the vocabulary; for the oracle its exact size"
    )
    steps: int = Field(
        1000, ge=1, description="length of the run; by default what the stages and `iterations` come to"
    )

    generator: Literal["lstm", "gru", "transformer"] = Field("lstm", description="the kind of G")
    embedding: int = Field(128, ge=1, description="length of a token's vector in G")
    hidden: int = Field(256, ge=1, description="length of G's state; for a transformer, its width")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout rate of D's features in training")
    l2: float = Field(0.2, ge=0, description="weight of half the squared norm of D's output layer")
    clip_norm: float = Field(5.0, gt=0, description="greatest norm of G's gradient")
    mle_lr: float = Field(3e-3, gt=0, description="Adam's learning rate while G learns by likelihood")
    lr: float = Field(1e-3, gt=0, description="G's in the adversarial stage, which has an Adam of its own")
    d_lr: float = Field(1e-4, gt=0, description="D's learning rate")

    mle_steps: int = Field(1000, ge=0, description="pretrain-g: updates of G by likelihood")
    negatives: int = Field(
        2048, ge=1, description="generated texts in a round; D learns from them, then new ones are made"
    )
    pretrain_rounds: int = Field(3, ge=0, description="pretrain-d: rounds of D")
    pretrain_epochs: int = Field(3, ge=1, description="pretrain-d: how often D sees a round's texts")
    iterations: int = Field(40, ge=0, description="adversarial: updates of G, where `steps` is not given")
    rounds: int = Field(1, ge=1, description="adversarial: rounds of D for each update of G")
    epochs: int = Field(1, ge=1, description="adversarial: how often D sees a round's texts")

    rollouts: int = Field(16, ge=1, description="completions of each prefix, to estimate a token's reward")
    rollout_rows: int = Field(
        4096, ge=1, description="completions that are made and scored at once; fewer take less memory"
    )
    lag: float = Field(
        0.0, ge=0, lt=1, description="how slowly the policy of the rollouts follows G; 0: it is G"
    )
    baseline: Literal["none", "mean"] = Field(
        "none", description="baseline of the rewards: none, or their mean over the batch"
    )
    rescale: Literal["none", "rank"] = Field(
        "none", description="rewards as they are, or by their rank in the batch"
    )
    temperature: float = Field(
        1.0,
        ge=1e-38,
        description="divides the logits when samples are drawn; below 1 safer, above 1 more varied",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        if not values.get("data"):
            values = {**values, "data": "oracle"}
        preset = values.get("preset", "auto")
        if preset == "auto":
            preset = "paper-small" if _is_oracle(str(values["data"])) else "text"
        return {**PRESETS.get(str(preset), {}), **values}

    @model_validator(mode="after")
    def _count_steps(self) -> SeqGANConfig:
        if "steps" not in self.model_fields_set:
            steps = self.mle_steps + self.pretrain_d_steps + self.iterations * self.iteration_steps
            # Settings are frozen, but these are still under construction.
            object.__setattr__(self, "steps", max(1, steps))
        return self

    @model_validator(mode="after")
    def _has_whole_heads(self) -> SeqGANConfig:
        if self.generator == "transformer" and self.hidden % HEADS:
            raise ValueError(f"hidden = {self.hidden}: a transformer's width must be a multiple of {HEADS}")
        return self

    @property
    def on_oracle(self) -> bool:
        """Whether the data is the oracle's."""
        return _is_oracle(self.data)

    @property
    def share(self) -> int:
        """Texts of each kind, real and generated, in a batch of D."""
        return max(1, self.batch_size // 2)

    @property
    def epoch_steps(self) -> int:
        """Updates of D in which it sees each generated text of a round once."""
        return max(1, self.negatives // self.share)

    @property
    def pretrain_d_steps(self) -> int:
        """Updates of D before the adversarial stage."""
        return self.pretrain_rounds * self.pretrain_epochs * self.epoch_steps

    @property
    def iteration_steps(self) -> int:
        """Updates of D for each of G in the adversarial stage."""
        return self.rounds * self.epochs * self.epoch_steps


def _is_oracle(data: str) -> bool:
    return data.partition(":")[0] == "oracle"
