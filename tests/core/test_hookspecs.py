"""The plugin interface: every hook is typed, documented, and used."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import mmgan
from mmgan import hookspecs

HOOKS = {name: f for name, f in vars(hookspecs).items() if hasattr(f, "mmgan_spec")}
PLANNED = [
    *("register_tasks", "register_devices", "register_precisions", "register_datasets", "register_metrics"),
    *("register_settings", "register_losses", "register_penalties", "register_features"),
    "register_augmentations",
    *("register_commands", "select_device", "make_precision", "before_run", "after_run", "on_run_error"),
    *("before_stage", "after_stage", "configure_module", "after_step", "after_log", "after_sample"),
    *("after_evaluate", "before_save", "after_load", "after_roll_back"),
]


def test_all_planned_hooks_are_there() -> None:
    assert sorted(HOOKS) == sorted(PLANNED)


@pytest.mark.parametrize("name", PLANNED)
def test_a_hook_is_documented_typed_and_called(name: str) -> None:
    hook = HOOKS[name]
    assert hook.__doc__
    assert hook.__doc__[0].isupper()
    signature = inspect.signature(hook)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
    source = "".join(path.read_text() for path in Path(mmgan.__file__).parent.rglob("*.py"))
    assert re.search(rf'hook\.{name}\(|"{name}"', source), f"nothing calls {name}"


def test_selection_hooks_say_what_none_means() -> None:
    for name in ("select_device", "make_precision"):
        assert HOOKS[name].mmgan_spec["firstresult"]
        assert "None" in (HOOKS[name].__doc__ or "")


def test_public_names_are_sorted_and_all_there() -> None:
    assert mmgan.__all__ == sorted(mmgan.__all__)
    for name in mmgan.__all__:
        assert getattr(mmgan, name) is not None
    assert dir(mmgan) == mmgan.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mmgan.nothing
