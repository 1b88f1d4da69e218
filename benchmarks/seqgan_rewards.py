"""SeqGAN's rewards (sampling and D's scores) in mmgan, beside a plain port of the paper's procedure.

The plain port is ``bare_seqgan.py``. Both compute the rewards of one batch with networks of the same sizes
and equal weights; the two alternate in one process, and the figure is the median over the rounds of plain
time / mmgan's time. Run it on an idle machine.

    python benchmarks/seqgan_rewards.py --rounds 3 > seqgan.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable

import bare_seqgan
import torch
from torch import Tensor

from mmgan.cli.memory import keep_freed_memory
from mmgan_seqgan.networks import Discriminator, Generator
from mmgan_seqgan.rollouts import rewards


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds that are counted (default 3)")
    parser.add_argument("--batch-size", type=int, default=64, help="sequences (default 64)")
    parser.add_argument("--rollouts", type=int, default=16, help="completions of a prefix (default 16)")
    parser.add_argument("--rows", type=int, default=4096, help="completions at once (default 4096)")
    parser.add_argument(
        "--precision", default="fp32", choices=["fp32", "bf16"], help="mmgan's (default fp32)"
    )
    arguments = parser.parse_args()
    keep_freed_memory()  # for both: the command line does it too
    torch.manual_seed(0)
    g, d = Generator(5000), Discriminator(5000).eval()
    bare_g, bare_d = copies(g, d)
    tokens = torch.randint(5000, (arguments.batch_size, 20))
    context: Callable[[], contextlib.AbstractContextManager[object]] = (
        (lambda: torch.autocast("cpu", torch.bfloat16))
        if arguments.precision == "bf16"
        else contextlib.nullcontext
    )

    def ours() -> Tensor:
        with context():
            return rewards(g, d, tokens, arguments.rollouts, arguments.rows)

    def plain() -> Tensor:
        return bare_seqgan.rewards(bare_g, bare_d, tokens, arguments.rollouts)

    times: list[tuple[float, float]] = []
    for number in range(arguments.rounds + 1):
        one, first = timed(plain)
        two, second = timed(ours)
        print(f"round {number}: plain {one:.2f} s, mmgan {two:.2f} s", file=sys.stderr)
        if number:
            times.append((one, two))
    # The same expectation, estimated twice: a check that both did the same work.
    figures = {
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        **vars(arguments),
        "plain_s": round(statistics.median(one for one, _ in times), 3),
        "mmgan_s": round(statistics.median(two for _, two in times), 3),
        "times_faster": round(statistics.median(one / two for one, two in times), 3),
        "mean_rewards": [round(float(first.mean()), 5), round(float(second.mean()), 5)],
        "last_rewards_differ_by": float((first[:, -1] - second[:, -1]).abs().max()),
    }
    print(json.dumps(figures, indent=1))


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Return the seconds that something takes, and what it gives."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def copies(g: Generator, d: Discriminator) -> tuple[bare_seqgan.Generator, bare_seqgan.Discriminator]:
    """Return the plain port's networks with the same weights."""
    bare_g, bare_d = bare_seqgan.Generator(), bare_seqgan.Discriminator().eval()
    with torch.no_grad():
        theirs = [bare_g.embedding, bare_g.lstm, bare_g.output]
        for target, source in zip(theirs, [g.embedding, g.recurrent, g.output], strict=True):
            target.load_state_dict(source.state_dict())
        bare_d.embedding.load_state_dict(d.embedding.state_dict())
        for target, source in zip(bare_d.convolutions, d.convolutions, strict=True):
            target.weight.copy_(source.weight.transpose(1, 2)[:, None])
            target.bias.copy_(source.bias)
        bare_d.gate.load_state_dict(d.highway.gate.state_dict())
        bare_d.transform.load_state_dict(d.highway.transform.state_dict())
        bare_d.output.load_state_dict(d.output.state_dict())
    return bare_g, bare_d


if __name__ == "__main__":
    main()
