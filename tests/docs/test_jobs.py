"""The job files can be used: they parse, their commands are understood, and SLURM's script runs here."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import common, torchrun, until
from torch.distributed.run import get_args_parser

from mmgan.cli import commandline
from mmgan.cli.session import Session
from mmgan.plugins import Plugins

JOBS = Path(__file__).resolve().parents[2] / "docs/jobs"
SCRIPT = JOBS / "slurm.sbatch"


# Kubernetes.


def documents(path: Path) -> list[Any]:
    """Read YAML: mappings, lists and scalars in blocks. Whatever else there is in YAML is refused."""
    return [block(list(lines(text)), 0) for text in path.read_text(encoding="utf-8").split("\n---\n")]


def lines(text: str) -> Iterator[tuple[int, str]]:
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            assert "\t" not in line
            indent = len(line) - len(line.lstrip())
            # An item of a list that begins a mapping stands for its own line and for the mapping's first.
            while match := re.match(r"- (?=\S)", line.lstrip()):
                yield indent, "-"
                line = line.lstrip()[match.end() :]
                indent += 2
            yield indent, line.strip()


def block(rest: list[tuple[int, str]], indent: int) -> Any:
    """Take what belongs to one value from the front of ``rest``."""
    assert rest[0][0] >= indent
    indent = rest[0][0]
    if rest[0][1] == "-":
        items = []
        while rest and rest[0] == (indent, "-"):
            rest.pop(0)
            items.append(block(rest, indent + 1))
        return items
    if not re.match(r"[\w./-]+:( |$)", rest[0][1]):
        return scalar(rest.pop(0)[1])
    found: dict[str, Any] = {}
    while rest and rest[0][0] == indent and rest[0][1] != "-":
        name, colon, value = rest.pop(0)[1].partition(":")
        assert colon, name
        assert name not in found, f"{name} stands there twice"
        found[name] = scalar(value.strip()) if value.strip() else block(rest, indent + 1)
    assert not rest or rest[0][0] < indent or rest[0] == (indent, "-"), rest[0]
    return found


def scalar(text: str) -> Any:
    if text.startswith('"'):
        return json.loads(text)
    assert re.fullmatch(r"[\w./:-]+", text), text
    return int(text) if text.isdecimal() else text


def understood(command: list[str], environment: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    """Parse a command of torchrun and mmgan, as both do; return the options of each."""
    assert all(isinstance(word, str) for word in command), "a number must stand in quotes"
    assert command[0] == "torchrun"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        agent = get_args_parser().parse_args(command[1:])
    assert (agent.module, agent.training_script) == (True, "mmgan")
    name, *words = agent.training_script_args
    assert name == "run"
    group = commandline.build(Session())
    context = group.commands[name].make_context(name, words)
    assert not context.args
    return agent, context.params


def check_pod(pod: dict[str, Any]) -> dict[str, Any]:
    """Check what both manifests have in common, and return the container."""
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    variables = {item["name"]: item["value"] for item in container["env"]}
    assert all(isinstance(value, str) for value in variables.values())
    assert variables["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"
    # torchrun gives up waiting before Kubernetes does.
    assert int(variables["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) < pod["terminationGracePeriodSeconds"]
    _, options = understood(container["command"], {})
    assert options["resume"]
    for path in (str(options["out"]), options["data"], variables["MMGAN_CACHE_DIR"]):
        assert path.startswith(mounts["shared"] + "/")
    assert options["plugin"] in Plugins().tasks
    return container


def test_the_reader_of_yaml_reads_and_refuses(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text('# x\na: 1\nb:\n  - name: c\n    d: "2"\n  - -m\ne:\n  f.g/h: i:j\n---\nk: l\n')
    assert documents(path) == [
        {"a": 1, "b": [{"name": "c", "d": "2"}, "-m"], "e": {"f.g/h": "i:j"}},
        {"k": "l"},
    ]
    for wrong in ("a: {b: c}\n", "a: b\na: c\n", "a:\n\t- b\n", "a: 'b'\n", "a:\n  b: c\n d: e\n"):
        path.write_text(wrong)
        with pytest.raises((AssertionError, IndexError)):
            documents(path)


def test_the_pytorchjob() -> None:
    (job,) = documents(JOBS / "pytorchjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    policy, worker = job["spec"]["elasticPolicy"], job["spec"]["pytorchReplicaSpecs"]["Worker"]
    assert policy["minReplicas"] == policy["maxReplicas"] == worker["replicas"] == 2
    assert worker["restartPolicy"] == "OnFailure"
    container = check_pod(worker["template"]["spec"])
    assert container["name"] == "pytorch"
    assert str(container["resources"]["limits"]["nvidia.com/gpu"]) == job["spec"]["nprocPerNode"]
    # What the operator puts into the environment.
    given = {"PET_NNODES": "2:2", "PET_MAX_RESTARTS": str(policy["maxRestarts"])}
    given |= {"PET_RDZV_BACKEND": policy["rdzvBackend"], "PET_RDZV_ENDPOINT": "mmgan-worker-0:23456"}
    agent, _ = understood(container["command"], given | {"PET_NPROC_PER_NODE": job["spec"]["nprocPerNode"]})
    assert (agent.nnodes, agent.nproc_per_node, agent.max_restarts) == ("2:2", "8", 10)
    assert (agent.rdzv_backend, agent.rdzv_endpoint) == ("c10d", "mmgan-worker-0:23456")


def test_the_indexed_job() -> None:
    service, job = documents(JOBS / "job.yaml")
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    # So the first pod is found under NAME-0.SERVICE.
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["spec"]["clusterIP"] == "None"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert pod["restartPolicy"] == "OnFailure"
    agent, _ = understood(check_pod(pod)["command"], {})
    assert agent.rdzv_endpoint == f"{name}-0.{pod['subdomain']}:29400"
    assert int(agent.nnodes) == job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    assert agent.max_restarts > 0


# SLURM.

#: Runs its command once for each of the job's machines, all of which are this one.
SRUN = """#!/bin/bash
[ "$1" = --kill-on-bad-exit=1 ] || exit 9
shift
for node in $(seq "$SLURM_NNODES"); do "$@" & done
code=0
for node in $(seq "$SLURM_NNODES"); do wait -n || code=1; done
exit $code
"""
SCONTROL = """#!/bin/bash
case "$*" in
    "show hostnames nodes["*) printf 'localhost\\nelsewhere\\n' ;;
    "requeue $SLURM_JOB_ID") touch requeued ;;
    *) exit 9 ;;
esac
"""
STEPS = 400
GAME = ("--plugin", "gan", "--data", "ring", "--batch-size", 8, "--steps", STEPS, "--device", "cpu")
GAME += ("--set", "width=8", "--set", "tensorboard=false", "--set", "sample_every=0")


class Cluster:
    """A cluster of two machines, which both are this one. Its commands stand in for SLURM's."""

    def __init__(self, folder: Path) -> None:
        (folder / "bin").mkdir()
        agent = f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n'
        for name, text in {"srun": SRUN, "scontrol": SCONTROL, "torchrun": agent}.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MMGAN_")}
        slurm = {"SLURM_NNODES": "2", "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "nodes[1-2]"}
        path = {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PER_NODE": "1"}
        self.environment = kept | common(folder / "cache") | slurm | path
        self.folder = folder

    def submit(self, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(SCRIPT), "run", *map(str, (*GAME, "--set", "workers=1", *words))],
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @property
    def requeued(self) -> bool:
        return (self.folder / "requeued").exists()


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in map(int, children) for each in (child, *descendants(child))]


def test_the_script_is_bash_and_asks_for_what_it_needs() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)], capture_output=True).returncode == 0
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", SCRIPT.read_text(), re.MULTILINE))
    assert asked.keys() >= {"nodes", "time", "requeue"}
    assert (asked["ntasks-per-node"], asked["open-mode"]) == ("1", "append")
    # To the step's processes only: bash itself would end by it, and put nothing back into the queue.
    name, seconds = asked["signal"].split("@")
    assert name == "TERM"
    (patience,) = re.findall(r"TORCH_ELASTIC_SHUTDOWN_TIMEOUT=(\d+)", SCRIPT.read_text())
    assert int(patience) < int(seconds)


@pytest.mark.process
@pytest.mark.slow
def test_a_job_whose_time_is_up_goes_back_to_the_queue_and_ends_as_one_that_was_never_stopped(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path)
    first = cluster.submit()
    until(lambda: (tmp_path / "run/metrics.jsonl").exists(), first)
    # As SLURM does: to all processes of the step, whoever has started them.
    (srun,) = [pid for pid in descendants(first.pid) if "srun" in Path(f"/proc/{pid}/cmdline").read_text()]
    for pid in descendants(srun):
        os.kill(pid, signal.SIGTERM)
    _, err = first.communicate(timeout=100)
    assert first.returncode == 1
    assert cluster.requeued, err
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("interrupted", 143)
    assert 0 < status["step"] < STEPS

    (tmp_path / "requeued").unlink()
    second = cluster.submit()
    out, err = second.communicate(timeout=100)
    assert (second.returncode, out, cluster.requeued) == (0, "run\n", False), err

    straight = torchrun("run", *GAME, "--out", "straight")
    subprocess.run(straight, cwd=tmp_path, env=cluster.environment, check=True, capture_output=True)
    one, other = (tmp_path / f"{name}/checkpoints/step-{STEPS:06d}" for name in ("run", "straight"))
    assert {file.name: file.read_bytes() for file in one.iterdir()} == {
        file.name: file.read_bytes() for file in other.iterdir()
    }


@pytest.mark.process
@pytest.mark.slow
def test_a_job_that_fails_does_not_go_back_to_the_queue(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    # What is left of an earlier start says nothing of this one.
    (tmp_path / "run").mkdir()
    (tmp_path / "run/status.json").write_text('{\n "state": "interrupted"\n}\n')
    os.utime(tmp_path / "run/status.json", (1, 1))
    job = cluster.submit("--set", "wdith=8")
    _, err = job.communicate(timeout=100)
    assert (job.returncode, cluster.requeued) == (1, False)
    assert "gan has no setting 'wdith'" in err
