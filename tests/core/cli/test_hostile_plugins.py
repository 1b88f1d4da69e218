"""Plugins that fail wherever they can: each is named with its hook, and the command line goes on working."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmgan import INTERFACE, __version__

HEAD = "from mmgan import hookimpl\n"
REGISTRIES = {
    "register_tasks": "register('new', 'somewhere:Task')",
    "register_devices": "register('new', 'somewhere:Device')",
    "register_precisions": "register('new', 'somewhere:precision')",
    "register_datasets": "register('new', 'somewhere:open_it', kind='images')",
    "register_metrics": "register('new', 'somewhere:measure', kind='images')",
}
#: The hooks that a run calls and that only watch it, and those that decide how it is made.
LISTENING = ("before_run", "after_run", "before_stage", "after_stage", "after_step", "after_log")
LISTENING += ("after_sample", "after_evaluate", "before_save")
DECISIVE = ("select_device", "make_precision", "configure_module")


def hook(name: str, body: str, arguments: str = "") -> str:
    return f"{HEAD}@hookimpl\ndef {name}({arguments}):\n    {body}\n"


def registering(name: str, body: str) -> str:
    return hook(name, body, "register")


#: What can't be loaded, and what is said of it.
BROKEN = {
    "raising": ("1 / 0", "ZeroDivisionError: division by zero"),
    "leaving": ("raise SystemExit(0)", "SystemExit: 0"),
    "needy": ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "torn": ("def f(:", "SyntaxError"),
    "future": (
        f"mmgan_interface = {INTERFACE + 1}",
        f"written for version {INTERFACE + 1} of the plugin interface, and mmgan {__version__} has "
        f"version {INTERFACE}: upgrade mmgan.",
    ),
    "vague": ("mmgan_interface = 'new'", "says mmgan_interface = 'new', which is not a version."),
    "misspelt": (registering("register_taks", "pass"), "'register_taks', which is not a hook. Did you mean"),
    "misnamed": (registering("register_tasks", "pass").replace("register)", "registrar)"), "'registrar'"),
    "taking": (
        registering("register_tasks", "register('dcgan', 'x:y')"),
        "Plugins 'dcgan' and 'taking' both register 'dcgan' in register_tasks.",
    ),
    "junk": (
        registering("register_tasks", "register('junk-task', 5)"),
        "registered 'junk-task' in register_tasks as 5, which is neither a class, nor",
    ),
    "unkind": (
        registering("register_datasets", "register('unkind-data', 'x:y')"),
        "with kind = '', and register_datasets needs a kind.",
    ),
    "overkind": (
        registering("register_tasks", "register('overkind-task', 'x:y', kind='images')"),
        "with kind = 'images', and register_tasks takes no kind.",
    ),
    "quitting": (
        registering("register_tasks", "raise SystemExit('bye')"),
        "Plugin 'quitting' failed in register_tasks: SystemExit: bye",
    ),
    **{
        f"r{number}": (
            registering(name, f"{call}; raise ValueError('no')"),
            f"Plugin 'r{number}' failed in {name}: ValueError: no",
        )
        for number, (name, call) in enumerate(REGISTRIES.items())
    },
}


@pytest.mark.usefixtures("fake")
def test_what_can_not_be_loaded_is_listed_and_raises_where_it_is_asked_for(cli: Any, install: Any) -> None:
    for name, (source, _) in BROKEN.items():
        install(f"{name}plugin", source)
    listed = cli("plugins", "--json")
    assert (listed.code, listed.err) == (0, "")
    plugins = {plugin["name"]: plugin for plugin in json.loads(listed.out)["plugins"]}
    for name, (_, reason) in BROKEN.items():
        assert reason in plugins[name]["error"]
        asked = cli("run", "--plugin", name)
        assert (asked.code, asked.out) == (3, "")
        assert f"error: Plugin {name!r} is broken: " in asked.err
        assert reason in asked.err
        assert "hint: " in asked.err
    assert "new" not in cli("config", "new").out, "what a broken plugin registered is gone"
    assert cli("plugins").code == 0
    assert cli("--help").code == 0
    assert cli("run", "--plugin", "fake", "--steps", "1").code == 0


def test_a_broken_plugin_s_traceback_for_its_author(cli: Any, install: Any) -> None:
    install("raisingplugin", "1 / 0")
    assert "1 / 0" not in cli("run", "--plugin", "raising").err
    assert "1 / 0" in cli("-v", "run", "--plugin", "raising").err
    install("needyplugin", "import nothing_of_this_name")
    assert "hint: Install what it needs, or remove 'needyplugin'." in cli("run", "--plugin", "needy").err


def test_two_plugins_of_one_name(cli: Any, install: Any) -> None:
    install("core", "")
    result = cli("run", "--plugin", "core")
    assert result.code == 3
    assert "Two plugins have the name 'core': that of 'mmgan' and that of 'core'." in result.err


# --- Stdout is data ---

NOISE = """
import sys
from mmgan import hookimpl
print("noise: import")

@hookimpl
def register_tasks(register):
    print("noise: register_tasks")
    register("noisy", "noisyplugin:task")

@hookimpl
def register_commands(cli):
    print("noise: register_commands")

@hookimpl
def after_step(run):
    print("noise: after_step")
    sys.stdout.write("noise: write\\n")
"""


@pytest.mark.usefixtures("fake")
def test_what_a_plugin_prints_is_no_data(cli: Any, install: Any) -> None:
    install("noisyplugin", NOISE)
    listed = cli("plugins", "--json")
    assert json.loads(listed.out)["schema"] == 1
    for noise in ("import", "register_tasks", "register_commands"):
        assert f"noise: {noise}\n" in listed.err
    trained = cli("run", "--plugin", "fake", "--steps", "2", "--out", "out")
    assert trained.out == "out\n"
    assert trained.err.count("noise: after_step\n") == 2
    assert "noise: write\n" in trained.err
    resumed = cli("resume", "out", "--steps", "3", "--json")
    assert json.loads(resumed.out)["step"] == 3
    helped = cli("run", "--help")
    assert helped.out.startswith("Usage: mmgan run")


# --- Hooks of a run ---

RUN = ("run", "--plugin", "fake", "--steps", "2", "--out", "out", "--set", "evaluate_every=1")
RUN = (*RUN, "--set", "sample_every=1")


@pytest.mark.parametrize("name", [*LISTENING, *DECISIVE])
@pytest.mark.usefixtures("fake")
def test_a_hook_that_raises_is_named(cli: Any, install: Any, name: str) -> None:
    install("hostileplugin", hook(name, "raise ValueError('two\\nlines')"))
    result = cli(*RUN)
    assert (result.code, result.out) == (3, "")
    assert f"error: Plugin 'hostile' failed in {name}: ValueError: two lines\n" in result.err
    assert "hint: " in result.err
    assert cli("plugins").code == 0


@pytest.mark.parametrize("name", LISTENING)
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("fake")
def test_an_optional_one_is_switched_off_and_the_run_goes_on(cli: Any, install: Any, name: str) -> None:
    source = hook(name, "raise SystemExit('enough')") + "mmgan_optional = True\n"
    install("hostileplugin", source)
    result = cli(*RUN)
    assert (result.code, result.out) == (0, "out\n"), result.err
    said = f"warning: Plugin 'hostile' failed in {name} and is switched off: SystemExit: enough\n"
    assert result.err.count("switched off") == result.err.count(said) == 1


@pytest.mark.parametrize("name", DECISIVE)
@pytest.mark.usefixtures("fake")
def test_what_decides_is_never_optional(cli: Any, install: Any, name: str) -> None:
    install("hostileplugin", hook(name, "raise ValueError('no')") + "mmgan_optional = True\n")
    result = cli(*RUN)
    assert result.code == 3
    assert f"Plugin 'hostile' failed in {name}: ValueError: no" in result.err


@pytest.mark.usefixtures("fake")
def test_loading_and_failing(cli: Any, install: Any) -> None:
    assert cli(*RUN).code == 0
    install("aplugin", hook("after_load", "raise ValueError('no')"))
    result = cli("sample", "out", "-n", "1")
    assert (result.code, result.out) == (3, "")
    assert "Plugin 'a' failed in after_load: ValueError: no" in result.err

    install("bplugin", hook("on_run_error", "raise SystemExit('no')"))
    result = cli("-v", "run", "--plugin", "fake", "--set", "fault=bug")
    assert result.code == 3
    assert "failed in misbehave, phase 'D'" in result.err, "the first error counts"
    assert "Then on_run_error failed too: PluginError: Plugin 'b' failed in on_run_error" in result.err


@pytest.mark.usefixtures("fake")
def test_an_error_of_mmgan_s_own_passes_as_it_is(cli: Any, install: Any) -> None:
    """A plugin may stop a run on purpose, and say why."""
    body = "from mmgan import DataError; raise DataError('The data has gone.', hint='Bring it back.')"
    install("hostileplugin", hook("after_step", body))
    result = cli(*RUN)
    assert result.code == 4
    assert "error: The data has gone.\nhint: Bring it back.\n" in result.err


UGLY = "type('Ugly', (), {'__repr__': lambda self: 1 / 0})()"


@pytest.mark.parametrize(
    ("name", "result", "message"),
    [
        ("select_device", "'cuda'", "returned 'cuda' from select_device, and not a mmgan.Device."),
        ("make_precision", "False", "returned False from make_precision, and not a mmgan.Precision."),
        ("make_precision", "'x' * 99", "returned 'xxxx"),
        ("select_device", UGLY, "returned a Ugly from select_device"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_a_result_of_the_wrong_type(cli: Any, install: Any, name: str, result: str, message: str) -> None:
    install("hostileplugin", hook(name, f"return {result}"))
    ran = cli(*RUN)
    assert (ran.code, ran.out) == (3, "")
    assert f"Plugin 'hostile' {message}" in ran.err


FACTORIES = f"""{HEAD}
import mmgan

def broken(*_):
    raise SystemExit("no driver")

class Abstract(mmgan.Task):
    def build(self): ...
    def sample(self, n): ...

@hookimpl
def register_tasks(register):
    register("dictionary", dict)
    register("abstract", Abstract)
    register("absent", "hostileplugin:nothing")
    register("leaving", "leaving_module:Task")

@hookimpl
def register_devices(register):
    register("toaster", lambda name: name)
    register("oven", broken)

@hookimpl
def register_precisions(register):
    register("fp31", lambda device: None)
    register("fp30", broken)
"""


@pytest.mark.usefixtures("fake")
def test_what_is_registered_and_of_no_use(cli: Any, install: Any) -> None:
    install("hostileplugin", FACTORIES)
    install("leaving_module", "raise SystemExit(0)")
    for arguments, message in {
        ("--plugin", "dictionary"): "is not a subclass of mmgan.Task.",
        ("--plugin", "abstract"): "The task 'abstract' of plugin 'hostile' has no data.",
        ("--plugin", "absent"): "'hostileplugin:nothing', which can't be imported: AttributeError",
        ("--plugin", "leaving"): "'leaving_module:Task', which can't be imported: SystemExit: 0",
        ("--plugin", "fake", "--device", "toaster"): "returned 'toaster' from the device 'toaster'",
        ("--plugin", "fake", "--device", "oven"): "failed in the device 'oven': SystemExit: no driver",
        ("--plugin", "fake", "--precision", "fp31"): "returned None from the precision 'fp31'",
        ("--plugin", "fake", "--precision", "fp30"): "failed in the precision 'fp30': SystemExit: no driver",
    }.items():
        result = cli("run", *arguments)
        assert (result.code, result.out) == (3, ""), arguments
        assert f"Plugin 'hostile' {message}" in result.err or message in result.err
        assert "hostile" in result.err
