"""Finding plugins: what loads, what is broken, and that neither stops the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toys import Games, Toy, toy_run

import mmgan
from mmgan import PluginError, hookimpl
from mmgan.plugins import Plugins

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package of one module, as pip would leave it."""
    installed = []
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[mmgan]\n{name} = {name}\n")
        installed.append(name)

    yield write
    for name in installed:
        sys.modules.pop(name, None)


GOOD = """
from mmgan import hookimpl
@hookimpl
def register_tasks(register):
    register("stranger", "stranger_package.task:Task")
"""


def test_the_built_in_plugins_are_found_by_their_entry_points() -> None:
    plugins = Plugins()
    assert {"core", "dcgan", "gan"} <= {plugin.name for plugin in plugins.loaded}
    assert plugins.broken == []
    assert issubclass(plugins.task("dcgan"), mmgan.Task)
    assert plugins.tasks["dcgan"].plugin == "dcgan"


def test_a_stranger_s_package_is_found(install: Install) -> None:
    install("stranger", GOOD)
    plugin = next(plugin for plugin in Plugins().loaded if plugin.name == "stranger")
    assert (plugin.version, plugin.package, plugin.hooks) == ("2.5", "stranger", ["register_tasks"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("def f(:", "SyntaxError: invalid syntax"),
        (GOOD.replace("register_tasks", "register_task"), "is not a hook. Did you mean 'register_tasks'?"),
        (GOOD.replace('"stranger"', '"dcgan"'), "Plugins 'dcgan' and 'zz_broken' both register 'dcgan'"),
        (GOOD.replace("register(", "raise ValueError('no') #"), "ValueError: no"),
        (GOOD.replace("(register)", "(registrar)"), "registrar"),
    ],
)  # fmt: skip
def test_a_broken_package_is_listed_and_stops_nothing(install: Install, source: str, reason: str) -> None:
    install("zz_broken", source)
    install("zzz_good", GOOD)
    plugins = Plugins()
    assert [plugin.name for plugin in plugins.broken] == ["zz_broken"]
    assert reason in plugins.broken[0].error
    assert "\n" not in plugins.broken[0].error
    assert "stranger" in plugins.tasks, "the one after it still loads"
    assert plugins.tasks["dcgan"].plugin == "dcgan"
    with pytest.raises(PluginError, match="Plugin 'zz_broken' is broken: ") as caught:
        plugins.task("zz_broken")
    assert caught.value.exit_code == 3
    plugins.hook.after_step(run=None, step=1, losses={})


def test_a_registration_that_is_undone_leaves_nothing(install: Install) -> None:
    two = GOOD + '    register("dcgan", "x:y")\n'
    install("zz_broken", two)
    assert "stranger" not in Plugins().tasks


def test_a_task_that_can_t_be_imported_raises_only_when_asked_for(install: Install) -> None:
    install("stranger", GOOD)
    plugins = Plugins()
    with pytest.raises(
        PluginError, match="'stranger' registered 'stranger_package.task:Task'.*No module named"
    ):
        plugins.task("stranger")


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(PluginError, match="There is no plugin 'dcgen'. Did you mean 'dcgan'?") as caught:
        Plugins().task("dcgen")
    assert "gan" in caught.value.hint


def test_limiting_what_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGAN_LOAD_PLUGINS", "gan")
    assert {plugin.name for plugin in Plugins().loaded} == {"core", "convolutions", "gan"}
    monkeypatch.setenv("MMGAN_LOAD_PLUGINS", "gan, nothing")
    with pytest.raises(PluginError, match="names nothing, which is not installed"):
        Plugins()
    monkeypatch.setenv("MMGAN_LOAD_PLUGINS", "")
    assert {plugin.name for plugin in Plugins().loaded} == {"core", "convolutions"}


def test_tracing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MMGAN_TRACE_PLUGINS", "1")
    Plugins(installed=False).hook.after_step(run=None, step=3, losses={})
    captured = capsys.readouterr()
    assert "after_step" in captured.err
    assert captured.out == ""


@pytest.mark.process
def test_finding_plugins_imports_nothing_slow() -> None:
    code = (
        "import sys; from mmgan.plugins import Plugins; assert not Plugins().broken;"
        "print(*({'torch', 'numpy', 'pydantic', 'librosa', 'click', 'PIL'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_a_plugin_s_device_precision_data_set_and_choice_are_used() -> None:
    class Slow(mmgan.Precision):
        pass

    class Mine:
        @hookimpl
        def register_devices(self, register: Any) -> None:
            register("toaster", lambda name: mmgan.Device("cpu", "it is warm"))

        @hookimpl
        def register_precisions(self, register: Any) -> None:
            register("fp31", lambda device: Slow(device, "fp32", "one bit saved"))

        @hookimpl
        def register_datasets(self, register: Any) -> None:
            register("sand", lambda argument, config: f"sand of {argument}", kind="points")

    run = toy_run("toy", None, Mine(), device="toaster", precision="fp31", data="sand:Sahara")
    assert run.device.reason == "it is warm"
    assert isinstance(run.precision, Slow)
    assert run.open_data("points") == "sand of Sahara"
    with pytest.raises(mmgan.DataError, match="'sand' holds points, and toy trains on images"):
        run.open_data("images")

    class Chooser:
        @hookimpl
        def select_device(self) -> mmgan.Device:
            return mmgan.Device("cpu", "chosen before the core")

        @hookimpl
        def make_precision(self, device: mmgan.Device) -> mmgan.Precision:
            return Slow(device, "bf16", "chosen too")

    run = toy_run("toy", None, Chooser())
    assert run.device.reason == "chosen before the core"
    assert run.precision.reason == "chosen too"


def test_configure_module_may_change_a_network() -> None:
    seen: dict[str, Any] = {}

    class Mine:
        @hookimpl
        def configure_module(self, name: str, module: Any) -> None:
            seen[name] = module

    run = toy_run("toy", None, Mine())
    assert seen == {name: player.module for name, player in run.players.items()}


def test_a_folder_of_a_data_set_s_name_is_not_passed_over_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mine:
        @hookimpl
        def register_datasets(self, register: Any) -> None:
            register("sand", lambda argument, config: f"sand of {argument}", kind="points")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sand").mkdir()
    with pytest.warns(UserWarning, match=r"'sand' is the data set of that name.* write \./sand"):
        assert toy_run("toy", None, Mine(), data="sand").open_data("points") == "sand of "
    # With an argument it can't be taken for the folder.
    assert toy_run("toy", None, Mine(), data="sand:Gobi").open_data("points") == "sand of Gobi"


def test_data_that_is_nothing() -> None:
    run = toy_run(data="digitz")
    with pytest.raises(mmgan.DataError, match="'digitz' is not a folder.* Did you mean 'digits'?"):
        run.open_data("images")


def test_a_run_s_listeners_go_with_it_and_a_plugin_s_stay() -> None:
    class Listener:
        @hookimpl
        def after_step(self) -> None:
            pass

    mine, one, two = Listener(), Listener(), Listener()
    plugins = Plugins(Games(), mine, installed=False)
    plugins.attach([one])
    plugins.detach()
    plugins.attach([two])
    assert [plugins.manager.is_registered(x) for x in (mine, one, two)] == [True, False, True]
    assert issubclass(plugins.task("toy"), Toy)
