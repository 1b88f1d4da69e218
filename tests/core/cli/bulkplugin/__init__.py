"""Games whose generators stretch one number to a picture or a sound: many large samples in no time."""

from mmgan import hookimpl


@hookimpl
def register_tasks(register):
    register("picture", "bulkplugin.task:Picture")
    register("sound", "bulkplugin.task:Sound")
