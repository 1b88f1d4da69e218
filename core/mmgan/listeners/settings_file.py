"""``config.toml`` of a run that goes on with changed settings."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from mmgan import hookimpl
from mmgan.config import to_toml
from mmgan.listeners.common import writing
from mmgan.storage.files import write_text
from mmgan.storage.folder import CONFIG

if TYPE_CHECKING:
    from mmgan.run import Run
    from mmgan.storage.records import RollBack


class SettingsFile:
    """Stores the settings that a run is resumed or rolled back with.

    Args:
        changed: Whether the settings differ from those in the folder.
    """

    def __init__(self, changed: bool) -> None:
        self._changed = changed

    # Not before: only now the run trains with them and holds the folder's lock.
    @hookimpl
    def before_run(self, run: Run) -> None:
        """Store the settings if they were changed."""
        if self._changed:
            self._write(run)

    # Written after the new checkpoint: older ones must not be resumed with these settings.
    @hookimpl(wrapper=True, tryfirst=True)
    def after_roll_back(self, run: Run, roll_back: RollBack) -> Generator[None, object, object]:
        """Store changed settings once there is a checkpoint made with them."""
        result = yield
        if roll_back.changes:
            self._write(run)
        return result

    def _write(self, run: Run) -> None:
        with writing(run) as folder:
            write_text(folder / CONFIG, to_toml(run.config))
