"""The pytest plugin of mmgan: one fixture. Nothing slow is imported before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def mmgan_check() -> Callable[..., Any]:
    """Assert that a task keeps mmgan's rules: ``mmgan_check("mygan", width=4)``.

    The function is :func:`mmgan.testing.check_task`.
    """
    from mmgan.testing import check_task

    return check_task
