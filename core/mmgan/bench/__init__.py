"""How fast a task trains here, and where the time goes: ``mmgan bench``, and the same from Python.

from mmgan.bench import measure

result = measure(mmgan.new_run(config))
"""

from mmgan.bench.measuring import measure

__all__ = ["measure"]
