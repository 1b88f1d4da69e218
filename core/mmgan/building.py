"""What a run is built of: its device, precision, task and players; and the stream of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgan import helpers, inference, stages
from mmgan.backend import nonfinite, randomness
from mmgan.backend.choosing import device_for, precision_for, settle
from mmgan.backend.graphs import graphs_for
from mmgan.config import Config
from mmgan.data import opening
from mmgan.data.info import DataInfo, info_of
from mmgan.data.loader import Loader
from mmgan.players import opposing_weights, prepare, trained_weights
from mmgan.plugins.blame import blaming
from mmgan.plugins.choices import check_choices
from mmgan.storage import changing, rank_state
from mmgan.task import check_stages

if TYPE_CHECKING:
    from mmgan.run import Run


def build(run: Run, config: Config, saved: dict[str, Any] | None) -> None:
    """Build all of a run that follows from its settings, in the place of what it had: it is at step 0 again.

    Args:
        run: The run.
        config: Its settings.
        saved: What ``task.state_dict`` gave when the run was saved, where it is to go on from a checkpoint.
    """
    check_choices(config, run.plugins)
    run.close()
    run.is_built = False
    # Let go first, so that old and new networks are not in memory together.
    run.players, run.trained, run.opponents = {}, {}, {}
    run.helpers, run.helper_loads, run.helper_digests, run.kept = {}, {}, {}, {}
    run._dataset = run._loader = None
    run.position, run.saved = {}, saved or {}
    run.stage, run.phase, run.stage_step, run.entered, run.stages = None, "", 0, 0, ()

    randomness.seed_everything(config.seed)
    run.device = run.ranks.device_for_rank(device_for(config, run.plugins, run.hook))
    run.precision = precision_for(config, run.plugins, run.hook, run.device)
    randomness.use_deterministic(config.deterministic)
    run.device.use_tf32(config.tf32)
    run.config = config

    run.task = run.task_class(config)
    run.task.run = run
    if config.evaluate_every:
        inference.need_metrics(run)
    run.players = dict(run.task.build())
    run.stages = tuple(run.task.stages)
    check_stages(run.task, run.stages, run.players)
    for name, player in run.players.items():
        prepare(run, name, player)
    for name in run.helpers:
        helpers.prepare(run, name)
    run.config = run.task.config = settle(run, config)
    run.finite = nonfinite.FiniteWatch(run.device, run.precision.scales)
    run.trained = trained_weights(run.players)
    run.opponents = opposing_weights(run.trained)
    run.options = {name: changing.options_of(player.optimizer) for name, player in run.players.items()}
    run.randomness = randomness.get_state(run.device.torch)
    if run.ranks.rank:
        # The networks began alike on all ranks; from here on each draws latents of its own.
        run.randomness = rank_state.rank_randomness(config.seed, 0, run.ranks.rank, run.device.torch)
    run.stepper = graphs_for(run) or run.task
    run.is_built = True


def data_info(run: Run) -> DataInfo:
    """What is known of the data: its shape, its classes' names, and so on; in ``Task.build`` too.

    A run that goes on, or is sampled from, has it from its checkpoint. A new one opens its data for it, so
    that ``Task.data`` must then not need what ``build`` makes.
    """
    if run.known is None:
        with opening.once(run, in_build=True):
            run._dataset = _open(run)
    assert run.known is not None
    return run.known


def open_loader(run: Run) -> Loader:
    """Open the data of a run's task, and return its batches from where the run stands in them."""
    with opening.once(run):
        dataset = _open(run) if run._dataset is None else run._dataset
    loader = Loader(
        dataset,
        run.config.batch_size,
        run.order_seed,
        workers=run.config.workers,
        rank=run.ranks.rank,
        world=run.ranks.world,
        pin_memory=run.device.type == "cuda",
    )
    if run.position:
        opening.check_same(run.config.data, dataset, run.position, run.data_moved)
        loader.load_state_dict(run.position)
    with blaming(type(run.task), run.config.plugin):
        stages.fit(run, loader)
    return loader


def _open(run: Run) -> Any:
    """Open the data, and note what is known of it."""
    # Aside, since the data may be opened in the middle of training, after a resume.
    with (
        randomness.isolated(run.config.seed, run.device.torch),
        blaming(type(run.task), run.config.plugin),
    ):
        dataset = run.task.data()
    run.known = opening.compared(run.config.data, info_of(dataset), run.known, run.task.holds)
    return dataset
