"""``config.toml`` of a run that goes on with other settings than it had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgan import hookimpl
from mmgan.config import to_toml
from mmgan.listeners.common import writing
from mmgan.storage.files import write_text
from mmgan.storage.folder import CONFIG

if TYPE_CHECKING:
    from mmgan.run import Run


class SettingsFile:
    """Stores the settings a run is resumed with."""

    # Not before: only now does it train by them, and holds the folder's lock.
    @hookimpl
    def before_run(self, run: Run) -> None:
        """Store them."""
        with writing(run) as folder:
            write_text(folder / CONFIG, to_toml(run.config))
