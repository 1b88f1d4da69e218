"""The shapes of the JSON in a run's folder, which may come from a stranger: nothing is trusted."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from torch import Tensor

from mmgan.config import LARGEST
from mmgan.data.info import DataInfo

#: Most bytes of a small file (a config, a manifest, a score).
SMALL = 1 << 20
#: Most bytes of ``state.json``, which holds vocabularies but no tensors.
LARGE = 1 << 25

Count = Annotated[int, Field(ge=0, lt=LARGEST)]
#: A file's name, and not a path to elsewhere.
FileName = Annotated[str, Field(pattern=r"^[^/\\\x00]+$", max_length=200)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """Something that is read from a run's folder; unknown keys are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", arbitrary_types_allowed=True)


class Manifest(Record):
    """``manifest.json``: the SHA-256 of every other file of a checkpoint.

    Attributes:
        step: The step after which the checkpoint was taken.
        weights: The names of the networks; each has a file ``NAME.safetensors``.
        files: The digest of each file, by its name.
    """

    format: int
    step: Count
    weights: list[FileName]
    files: dict[FileName, Digest]

    @model_validator(mode="after")
    def _covers_all(self) -> Self:
        needed = {"state.json", "state.safetensors", *(f"{name}.safetensors" for name in self.weights)}
        if missing := sorted(needed - self.files.keys()):
            raise ValueError(f"it has no SHA-256 of {missing[0]}")
        return self


class Best(Record):
    """``best.json``: which checkpoint had the best score, and what it was."""

    step: Count
    score: str
    value: Annotated[float, Field(allow_inf_nan=False)]


#: The total time of steps.
Seconds = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]


class Line(Record):
    """A line of ``metrics.jsonl``. ``seconds`` is the total time of the steps so far."""

    step: Count
    seconds: Seconds = 0.0


class Status(Record):
    """``status.json``: how a run goes or has ended.

    Attributes:
        state: ``running``, ``finished``, ``failed`` or ``interrupted``; "" where there is no such file.
        steps: The length of the run.
        reason: Why it finished before its last step.
    """

    state: str = ""
    step: Count = 0
    steps: Count = 0
    seconds: Seconds = 0.0
    reason: str | None = None


class PythonRandom(Record):
    """The state of Python's generator."""

    version: int
    words: list[int]
    gauss: float | None


class NumpyRandom(Record):
    """The state of NumPy's generator."""

    keys: Tensor
    position: Annotated[int, Field(ge=0, le=624)]
    has_gauss: Annotated[int, Field(ge=0, le=1)]
    cached: Annotated[float, Field(allow_inf_nan=False)]


class Randomness(Record):
    """The state of all generators; a GPU's too if the run had one."""

    torch: Tensor
    python: PythonRandom
    numpy: NumpyRandom


class OptimizerState(Record):
    """The ``state_dict`` of an optimizer."""

    state: dict[int | str, Any]
    param_groups: list[dict[str, Any]]


class PlayerState(Record):
    """A player's part of a checkpoint, except for its weights.

    Attributes:
        updates: How often it was updated.
        images: How many examples its moving average has seen, if it counts them.
        options: The options with which each group of its optimizer was built, before any schedule.
    """

    updates: Count
    images: Count = 0
    optimizer: OptimizerState
    options: list[dict[str, Any]] = []


class ScalerState(Record):
    """A gradient scaler's part of a checkpoint (fp16)."""

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    growth_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    backoff_factor: Annotated[float, Field(gt=0, lt=1)]
    growth_interval: Annotated[int, Field(ge=1, lt=LARGEST)]
    growth_tracker: Annotated[int, Field(ge=0, lt=LARGEST, alias="_growth_tracker")]


class DataPosition(Record):
    """The position in the data, and its identity.

    Attributes:
        position: How many batches were taken.
        start: How many examples were taken, where stages have batch sizes of their own.
    """

    position: Count
    start: Count = 0
    examples: Count = 0
    fingerprint: str = ""


class RankState(Record):
    """The own state of a rank > 0."""

    rng: Randomness
    task: dict[str, Any]


class RollBack(Record):
    """A roll-back: the step that a run left, the checkpoint's step that it went to, and why.

    Attributes:
        changes: The settings that changed: [before, now] by name.
    """

    from_step: Count
    to_step: Count
    reason: str = ""
    changes: dict[str, list[JsonValue]] = {}


class State(Record):
    """``state.json`` with its tensors: everything but the weights that a run's future depends on.

    Attributes:
        settings: Those that decide what is learned, as the run had them; empty in older checkpoints.
        data: Empty where the data was never opened.
        data_info: What is known of the data; None in older checkpoints.
        ranks: The own state of each rank > 0, where several processes train.
        roll_backs: All roll-backs so far; their number seeds the data's order.
        helpers: A digest of the weights of each helper.
        kept: What moved in training beside the weights (``run.keep``), by name.
    """

    plugin: str
    step: Count
    players: dict[str, PlayerState]
    scalers: dict[str, ScalerState | dict[str, None]]
    data: DataPosition | dict[str, None]
    data_info: DataInfo | None = None
    task: dict[str, Any]
    rng: Randomness
    settings: dict[str, JsonValue] = {}
    ranks: list[RankState] = []
    roll_backs: list[RollBack] = []
    helpers: dict[str, str] = {}
    kept: dict[str, dict[str, Any]] = {}
