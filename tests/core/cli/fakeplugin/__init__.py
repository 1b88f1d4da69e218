"""A tiny plugin as a stranger would write one; ``conftest.py`` installs a copy of it for each test."""

from mmgan import hookimpl


@hookimpl
def register_tasks(register):
    register("fake", "fakeplugin.task:Fake")
