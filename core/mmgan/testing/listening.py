"""The rules for listeners: a small game is trained with one, fails, and is resumed."""

from __future__ import annotations

from collections.abc import Iterator

from mmgan import engine
from mmgan.counting import some
from mmgan.errors import MmganError
from mmgan.opening import load_run
from mmgan.plugins.marks import HOOKS
from mmgan.storage import checkpoint
from mmgan.testing.compare import differences
from mmgan.testing.rules import Skip, rule, told
from mmgan.testing.sandbox import HALF, Failing, Meant, Sandbox, Spy

#: The hooks that make a plugin a listener.
LIFECYCLE = {hook for hook in HOOKS if not hook.startswith(("register_", "select_", "make_"))}


@rule(
    "listens",
    why="A hook that fails ends the run of whoever has the plugin installed, maybe after hours.",
    mend="Run a small game with the plugin and -v for the whole traceback. A hook gets the arguments in "
    "hookspecs.py, with the scores and losses of any task.",
)
def listens(sandbox: Sandbox) -> Iterator[str]:
    """A game is trained to its end, in two stages with samples, scores and checkpoints; another one fails."""
    if not sandbox.hooks & LIFECYCLE:
        raise Skip("the plugin has no hooks of a run")
    engine.train(sandbox.begin(Spy(), "whole"))
    try:
        engine.train(sandbox.begin(Spy(), "failing", Failing))
    except Meant as error:
        for note in getattr(error, "__notes__", ()):
            yield f"When a run fails: {note}"


@rule(
    "remembers",
    why="A run that is stopped and resumed must go on as one that never stopped, including its listeners; "
    "and a run that was made before the plugin was installed must open with it.",
    mend="In before_save, store state under a key of your own: tensors, numbers, text, lists and dicts of "
    "them. In after_load, restore it with `state.get(…)`, since it may be missing.",
)
def remembers(sandbox: Sandbox) -> Iterator[str]:
    """What a listener stores in a checkpoint is restored, and is the same after a resume as without."""
    if not sandbox.hooks & {"before_save", "after_load"}:
        raise Skip("the plugin puts nothing into checkpoints")
    straight, other, resumed = Spy(), Spy(), Spy()
    engine.train(sandbox.begin(straight, "straight"))
    engine.train(sandbox.begin(other, "other"))
    for key in sorted(straight.touched):
        yield f"before_save changes {key!r} of the state, which is not the plugin's own."
    if HALF not in checkpoint.steps(sandbox.folder / "straight" / "checkpoints"):
        raise Skip("the plugin ends the run before there is a checkpoint to resume from")
    engine.train(sandbox.again(resumed, "straight"))
    # Times and the like differ between any two runs.
    restless = set(differences(straight.kept, other.kept))
    changed = [
        place for place in differences(straight.kept, straight.kept | resumed.kept) if place not in restless
    ]
    if changed:
        names = dict.fromkeys(place.partition(".")[2] for place in changed)
        yield f"The plugin's state differs after a resume: {some(names)}."
    engine.train(sandbox.begin(Spy(), "before", with_it=False))
    try:
        load_run(sandbox.folder / "before", sandbox.around(Spy()))
    except MmganError as error:
        what = told(error, *sandbox.authors)
        yield f"A run that was made without the plugin can't be opened with it: {what}"
