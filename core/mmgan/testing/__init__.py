"""The conformance kit: checks whether a task, or a plugin without one, keeps mmgan's rules.

    from mmgan.testing import check_task

    def test_conforms():
        check_task("mygan", width=4)

With pytest, the fixture ``mmgan_check`` is the same function; in a shell, ``mmgan plugins check NAME``.
"""

from mmgan.testing.check import PLUGIN_RULES, RULES, check_task, report, report_plugin
from mmgan.testing.rules import ConformanceError, Failure, Result, Rule

__all__ = [
    "PLUGIN_RULES",
    "RULES",
    "ConformanceError",
    "Failure",
    "Result",
    "Rule",
    "check_task",
    "report",
    "report_plugin",
]
