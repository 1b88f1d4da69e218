"""The GPU's benchmark, played on a CPU at tiny sizes; and the way of ``make gpu`` as far as it goes there."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from packaging.version import Version

import mmgan
from mmgan.bench import machine

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gpu
import pack_wheels
import worker
from alternate import spread
from cases import Case
from pack_wheels import PackingError, applies, asked_for, is_there, pack, parse_has
from styles import Feed, Style
from tiny_cases import BROKEN, DCGAN, tiny

ROOT = Path(__file__).parents[2]
TINY = Case("tiny", "dcgan, tiny", "dcgan", DCGAN, loops=gpu.RECORDED)


@pytest.mark.slow
def test_the_benchmark_from_the_command_line_to_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "CASES", (TINY, BROKEN))
    monkeypatch.setattr(machine, "SIZES", (32,))
    known = {"pixels": 32, "cards": "1 card", "seconds": [3.0, 4.5], "by": "a paper"}
    monkeypatch.setitem(gpu.PUBLISHED, "dcgan", [known])
    files = [f"--{name}={tmp_path / name}" for name in ("json", "markdown")]
    assert gpu.main(["--device=cpu", "--rounds=2", "--seconds=0", *files]) == 1
    output = capsys.readouterr()
    assert output.out == (tmp_path / "markdown").read_text()
    results = json.loads((tmp_path / "json").read_text())
    found = results["cases"]["tiny"]
    # Without a GPU there are no graphs.
    assert found["seconds_per_step"].keys() == {"plain", "plain-bf16", "mmgan"}
    assert found["times_faster"].keys() == {"plain", "plain-bf16"}
    assert found["flops_per_step"] > 0
    assert found["fraction_of_ceiling"] > 0
    assert found["seconds_per_1000_examples"] == 500 * found["seconds_per_step"]["mmgan"]["median"]
    assert results["gpu"] is None
    assert results["failed"]["broken"].startswith("the loop 'plainest' of broken ended")
    assert "| dcgan, tiny | bf16 |" in output.out
    assert "s for 1,000 images; for 32 pixels on 1 card: 3.0 to 4.5 (a paper)." in output.out
    assert "broken failed: the loop 'plainest'" in output.out


def test_no_case_begins_that_would_end_too_late(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    second = Case("second", "another", "dcgan", DCGAN, loops=gpu.UNRECORDED)
    monkeypatch.setattr(gpu, "CASES", (TINY, second))
    monkeypatch.setattr(machine, "SIZES", (32,))
    monkeypatch.setattr(
        gpu, "in_turns", lambda *_: ([{"plain": 2.0, "plain-bf16": 1.0, "mmgan": 0.5}], 1, 9.0)
    )
    assert gpu.main(["--device=cpu", "--minutes=0.1"]) == 1
    assert "second was left out: time ran out." in capsys.readouterr().out
    assert gpu.main(["--device=cpu", "--minutes=9"]) == 0
    assert "| another | bf16 | 2 s: 4.00 (4.00 to 4.00) | 1 s: 2.00 (2.00 to 2.00) |  |  | 500 ms |" in (
        capsys.readouterr().out
    )


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    output = capsys.readouterr()
    assert "There is no GPU to measure" in output.err
    assert not output.out


def test_the_table_names_the_card() -> None:
    case = {
        "what": "dcgan", "precision": "bf16", "seconds_per_step": {"mmgan": spread([0.002])},
        "times_faster": {}, "published": [], "fraction_of_ceiling": 0.125,
    }  # fmt: skip
    results = {
        "date": "2026-11-27T12:00:00+00:00", "gpu": "A card", "cpu": "A processor", "driver": "580.1",
        "torch": "2.11.0", "mmgan": "0.1.0", "rounds": 5, "cases": {"dcgan": case}, "failed": {},
        "left_out": [],
        "ceiling": {"fp32": {"flops_per_s": 5e13}, "bf16": {"flops_per_s": 7.5e14}},
    }  # fmt: skip
    lines = gpu.markdown(results).splitlines()
    head = " ".join(lines[:4])
    assert all(text in head for text in ("A card, driver 580.1", "50 TFLOP/s in fp32", "750 TFLOP/s in bf16"))
    assert lines[-1] == "| dcgan | bf16 |  |  |  |  | 2 ms | 12.5% |"


@pytest.mark.parametrize("case", gpu.CASES, ids=lambda case: case.name)
def test_each_loop_of_a_case_is_known(case: Case) -> None:
    engine = [loop for loop in case.loops if loop.startswith("mmgan")]
    assert engine == [loop for loop in ("mmgan", worker.EAGER) if loop in case.loops]
    for loop in set(case.loops) - set(engine):
        assert loop in gpu.TITLES
        assert worker.style_of(case, loop).device == case.device


# Plain loops in another style.


@pytest.mark.slow
@pytest.mark.parametrize("game", ["gan", "dcgan", "wavegan", "seqgan", "pix2pix", "cyclegan"])
def test_a_plain_loop_in_bf16_computes_nearly_the_same(game: str) -> None:
    """From equal weights and draws: the first update, whose size is Adam's learning rate."""
    case = tiny(game, "bf16")
    config: Any = case.config(mmgan.Plugins())
    data = worker.random_data(case.plugin, config)
    made: list[torch.nn.Module] = []

    class Noted(Style):
        def network(self, module: torch.nn.Module) -> Any:
            made.append(module)
            return super().network(module)

    for style in (Noted(), Noted(bf16=True, channels_last=True, fused=True)):
        torch.manual_seed(0)
        step = worker.LOOPS[game](config, lambda: data.any(config.batch_size), style)
        step()
    if not made:
        return  # dcgan's page, which is its own
    half = len(made) // 2
    for one, other in zip(made[:half], made[half:], strict=True):
        for left, right in zip(one.parameters(), other.parameters(), strict=True):
            assert right.dtype == torch.float32
            torch.testing.assert_close(left, right, rtol=0.2, atol=0.05)


def test_a_feed_keeps_its_memory() -> None:
    count = iter(range(100))
    feed = Feed(lambda: (torch.full((2,), float(next(count))), torch.full((1,), float(next(count)))))
    first = [feed(), feed()]
    feed.rewind()
    assert feed() is first[0]
    feed.refill()
    assert [int(part[0]) for pair in first for part in pair] == [4, 5, 6, 7]


# The wheels of a machine without network.


def wheel(folder: Path, name: str, version: str, *needs: str) -> Path:
    """Write a wheel of an empty module, and say in it what it needs."""
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {need}" for need in needs]
    files = {
        f"{name}.py": [],
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": ["Wheel-Version: 1.0", "Root-Is-Purelib: true", "Tag: py3-none-any"],
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, lines in files.items():
            archive.writestr(file, "\n".join(lines) + "\n")
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD")))
    return path


INDEX = {
    "pydantic": ("2.14", "pydantic_core==2.50", "annotated-types>=0.6", "email-validator; extra == 'email'"),
    "pydantic_core": ("2.50", "typing-extensions>=4.14", "tomli; python_version < '3.11'"),
    "typing-extensions": ("4.15",),
    "soundfile": ("0.14", "numpy", "cffi>=1.0", "pywin32; sys_platform == 'win32'"),
    "cffi": ("2.0", "pycparser"),
    "pycparser": ("3.0",),
    "old": ("1.0", "cffi<2"),
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let packages be found in INDEX."""

    def download(requirement: Requirement, python: str, folder: Path) -> Path:
        assert python == "3.12"
        name = requirement.name
        version, *needs = INDEX.get(name, ("0",))
        if name not in INDEX or not requirement.specifier.contains(version):
            raise PackingError(f"{name}{requirement.specifier} can't be packed: there is none")
        return wheel(folder, name.replace("-", "_"), version, *needs)

    monkeypatch.setattr(pack_wheels, "download", download)
    return tmp_path


def test_what_is_missing_is_packed_with_what_it_needs(index: Path) -> None:
    has = parse_has(["numpy,annotated_types==0.7"])
    packed = pack(map(Requirement, ["pydantic>=2.14", "soundfile"]), has, "3.12", index)
    assert sorted(packed) == [
        "cffi",
        "pycparser",
        "pydantic",
        "pydantic-core",
        "soundfile",
        "typing-extensions",
    ]


def test_too_old_a_version_is_packed_anew(index: Path) -> None:
    wanted = [Requirement("typing-extensions>=4.14")]
    assert pack(wanted, parse_has(["typing_extensions==4.15"]), "3.12", index) == {}
    assert list(pack(wanted, parse_has(["typing_extensions==4.12"]), "3.12", index)) == ["typing-extensions"]


def test_packages_that_don_t_fit_each_other_are_refused(index: Path) -> None:
    with pytest.raises(PackingError, match="cffi-2.0-.* was packed, and cffi<2 is needed too"):
        pack(map(Requirement, ["cffi", "old"]), {}, "3.12", index)
    with pytest.raises(PackingError, match="cffi>=3 can't be packed"):
        pack([Requirement("cffi>=3")], {}, "3.12", index)


def test_an_extra_s_needs_are_packed_where_it_is_asked_for(index: Path) -> None:
    with pytest.raises(PackingError, match="email-validator can't be packed"):
        pack([Requirement("pydantic[email]")], parse_has(["annotated-types"]), "3.12", index)


def test_what_a_machine_has_is_read_from_files_and_lists(tmp_path: Path) -> None:
    file = tmp_path / "has.txt"
    file.write_text("# an image\nTorch==2.11.0  # for CUDA 13\n\nscikit_learn\n")
    has = parse_has([str(file), "numpy, pip==25.1"])
    assert has == {"torch": Version("2.11.0"), "scikit-learn": None, "numpy": None, "pip": Version("25.1")}
    assert is_there(Requirement("torch>=2.6"), has)
    assert not is_there(Requirement("torch>=2.12"), has)
    assert is_there(Requirement("scikit-learn>=99"), has)


def test_markers_are_those_of_linux_and_the_machine_s_python() -> None:
    assert applies(Requirement("a; python_version >= '3.12' and platform_machine == 'x86_64'"), "3.12")
    assert not applies(Requirement("a; python_version < '3.12'"), "3.12")
    assert not applies(Requirement("a; sys_platform == 'darwin'"), "3.12")


def test_the_project_asks_for_tools_to_build_and_to_test_alone() -> None:
    names = {requirement.name for requirement in asked_for(pack_wheels.read_project())}
    assert {"torch", "pydantic", "hatchling", "editables", "pytest", "pytest-timeout"} <= names
    assert not names & {"mypy", "ruff", "av", "mmgan"}


def test_more_than_the_limit_is_refused(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pack_wheels, "asked_for", lambda project: [Requirement("pycparser")])
    (index / "old-1-py3-none-any.whl").touch()
    pack_wheels.main([f"--into={index}"])
    assert [path.name for path in index.iterdir()] == ["pycparser-3.0-py3-none-any.whl"]
    assert "1 wheels for Python 3.12" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="more than 1e-05 MiB"):
        pack_wheels.main([f"--into={index}", "--most=0.00001"])


# The environment, and all of it.


@pytest.mark.process
@pytest.mark.slow
def test_a_virtual_environment_without_network_has_this_python_s_packages(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    pytest.importorskip("editables")
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "packed", "1.0")
    command = [sys.executable, ROOT / "scripts/offline_venv.py", tmp_path / "venv"]
    subprocess.run([*command, "--wheels", tmp_path / "wheels"], check=True)
    code = "import packed, mmgan, torch; print(mmgan.__file__)"
    python = tmp_path / "venv/bin/python"
    said = subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout
    assert Path(said.strip()).is_relative_to(ROOT)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without a GPU")
def test_without_a_gpu_tests_are_skipped_and_nothing_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts/run_gpu.py", "--minutes=4", f"--out={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "torch finds no GPU" in (tmp_path / "tests.log").read_text()
    assert "There is no GPU to measure" in (tmp_path / "benchmark.log").read_text()
    assert "mmgan" in (tmp_path / "machine.log").read_text()
    assert (tmp_path / "tests.xml").exists()


def test_a_command_whose_time_runs_out_is_stopped(tmp_path: Path) -> None:
    driver = importlib.import_module("run_gpu")
    command = [sys.executable, "-uc", "import time; print('begun'); time.sleep(100)"]
    assert driver.run(command, tmp_path / "log", 2.0) == driver.TIMED_OUT
    assert (tmp_path / "log").read_text() == "begun\n"
    assert driver.run([sys.executable, "-c", "exit(3)"], tmp_path / "log", 60.0) == 3
