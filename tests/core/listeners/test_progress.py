"""What a person sees: plain lines without a terminal, a bar in one, and a terminal left as it was."""

from __future__ import annotations

import io
import re
import sys
import time
from typing import Any

import pytest

from mmgan import PluginError, Run, hookimpl, train
from mmgan.listeners.progress import Progress, _duration, _short

LINE = re.compile(
    r"step \d+/20  train  [\d.e+]+ steps/s  [\d.e+]+ samples/s  data wait \d+\.\d%  "
    r"D/adv [\d.e-]+  G/adv [\d.e-]+(  ETA \d+s)?"
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def watched(kit: Any, stream: io.StringIO, *extra: Any, interval: float = 1000.0, **settings: Any) -> str:
    run = kit.new(*extra, **settings)
    run.plugins.attach([Progress(stream, interval)])
    train(run)
    return stream.getvalue()


def test_plain_lines_for_the_first_log_and_the_last(kit: Any) -> None:
    lines = watched(kit, io.StringIO()).splitlines()
    assert len(lines) == 2
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert lines[0].startswith("step 5/20  ")
    assert re.search(r"  ETA \d+s$", lines[0])
    assert lines[1].startswith("step 20/20  ")
    assert "ETA" not in lines[1]


def test_plain_lines_by_time_even_before_the_first_log(kit: Any) -> None:
    lines = watched(kit, io.StringIO(), interval=0.0, log_every=10).splitlines()
    assert lines[0] == "step 1/20  train"
    assert re.fullmatch(r"step 2/20  train  [\d.e+]+ steps/s  ETA \d+s", lines[1])
    assert {int(line.split("/")[0].split()[1]) for line in lines} == set(range(1, 21))


def test_scores_and_the_first_samples(kit: Any) -> None:
    kit.task.scores = {10: 0.123456, 20: 1234.5}
    lines = watched(kit, io.StringIO(), sample_every=10, evaluate_every=10).splitlines()
    assert [line for line in lines if "samples:" in line] == [
        f"first samples: {kit.folder / 'samples' / 'step-000010.txt'}"
    ]
    assert [line for line in lines if "  scores  " in line] == [
        "step 10  scores  distance 0.123  other 2",
        "step 20  scores  distance 1234  other 2",
    ]


def test_of_many_scores_the_first_are_shown() -> None:
    stream = io.StringIO()
    Progress(stream).after_evaluate(step=5, scores={f"kernel/{number}": number for number in range(13)})
    assert stream.getvalue().startswith("step 5  scores  kernel/0 0  kernel/1 1")
    assert stream.getvalue().endswith("kernel/9 9  and 3 more\n")


def test_a_resumed_run_counts_on(kit: Any) -> None:
    run = kit.new()
    kit.stop(run, 12)
    train(run)
    stream = io.StringIO()
    run = kit.resume()
    run.plugins.attach([Progress(stream, 1000)])
    train(run)
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["15/20", "20/20"]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_bar_where_none_is_wanted(
    kit: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    text = watched(kit, Terminal())
    assert "\x1b" not in text
    assert all(LINE.fullmatch(line) for line in text.splitlines())


def shown(text: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text).replace("\r", "\n")


def test_a_bar_in_a_terminal(kit: Any) -> None:
    text = watched(kit, Terminal(), sample_every=10, evaluate_every=20)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert re.search(r"train ━+ 20/20 [\d.]+ steps/s", shown(text))
    assert re.search(r"[\d.]+ samples/s  data wait \d+\.\d%  D/adv [\d.]+  G/adv [\d.]+", shown(text))
    assert "first samples: " in shown(text)
    assert "step 20  scores  distance 1  other 2" in shown(text)


def test_losses_that_do_not_fit_are_cut(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = shown(watched(kit, Terminal())).splitlines()
    assert max(map(len, lines)) <= 40
    assert any(line.endswith("…") for line in lines)


def test_what_others_write_to_stderr_appears_above_the_bar_and_stdout_is_left_alone(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Talker:
        @hookimpl
        def after_log(self, run: Run, step: int) -> None:
            print(f"heard {step}", file=sys.stderr)
            print(f"data {step}")

    terminal, stdout = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", stdout)
    text = watched(kit, terminal, Talker())
    assert sys.stderr is terminal
    assert re.search(r"^heard 10$", shown(text), re.MULTILINE)
    assert stdout.getvalue() == "data 5\ndata 10\ndata 15\ndata 20\n"


@pytest.mark.parametrize(
    ("error", "raised"), [(ZeroDivisionError, PluginError), (KeyboardInterrupt, KeyboardInterrupt)]
)
def test_the_terminal_is_left_as_it_was_after_an_error(
    kit: Any, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], raised: type[BaseException]
) -> None:
    def surprise(loss: Any) -> Any:
        raise error

    kit.task.surprises = {7: surprise}
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(raised):
        watched(kit, terminal)
    assert sys.stderr is terminal
    assert terminal.getvalue().endswith("\x1b[?25h")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_step_costs_next_to_nothing(kit: Any, stream: type[io.StringIO]) -> None:
    run = kit.new()
    progress = Progress(stream())
    progress.before_run(run)
    start = time.perf_counter()
    for step in range(20_000):
        progress.after_step(run, step)
    assert (time.perf_counter() - start) / 20_000 < 20e-6
    progress.after_run()


def test_numbers_and_times_are_short() -> None:
    assert [_short(x) for x in (0.69314, 31.24, 1998.4, 99.96, 1.23e-5, 4e9, 0.0)] == [
        "0.693",
        "31.2",
        "1998",
        "100",
        "1.23e-05",
        "4e+09",
        "0",
    ]
    assert [_duration(x) for x in (0.2, 45, 80, 7500, 273_600)] == ["0s", "45s", "1m20s", "2h05m", "3d04h"]
