"""The conformance kit: does a task keep the rules by which mmgan plays, saves and resumes it?

    from mmgan.testing import check_task

    def test_conforms():
        check_task("mygan", width=4)

With pytest the fixture ``mmgan_check`` is the same function; ``mmgan plugins check NAME`` asks from a shell.
"""

from mmgan.testing.check import RULES, check_task, report
from mmgan.testing.rules import ConformanceError, Failure, Result, Rule

__all__ = ["RULES", "ConformanceError", "Failure", "Result", "Rule", "check_task", "report"]
