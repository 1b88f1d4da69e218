import multiprocessing
import os
import random
import warnings

import numpy as np
import pytest
import torch

from mmgan.data.dataset import Dataset
from mmgan.data.loader import Loader
from mmgan.errors import CheckpointError, DataError

# A machine with one core is told that two workers are many.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Numbers(Dataset):
    """Gives (index, augmentation, threads), so that a test sees what a batch was made of."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def batch(self, indices, draw):
        return indices, draw.uniform("x", 2), torch.get_num_threads()


class BrokenOnce(Numbers):
    """Fails on its second batch, once: a file says whether it did, since workers have copies of the rest."""

    def __init__(self, size, mark):
        super().__init__(size)
        self.mark = mark
        self.calls = 0

    def batch(self, indices, draw):
        self.calls += 1
        if self.calls == 2 and not self.mark.exists():
            self.mark.touch()
            raise DataError("This batch is broken.")
        return super().batch(indices, draw)


def take(loader, count):
    return [next(loader) for _ in range(count)]


def stream(batches):
    return torch.cat([batch[0] for batch in batches])


def assert_same(these, those):
    assert len(these) == len(those)
    for this, other in zip(these, those, strict=True):
        assert torch.equal(this[0], other[0])
        assert torch.equal(this[1], other[1])


def test_each_epoch_is_a_permutation_of_its_own():
    examples = stream(take(Loader(Numbers(10), 4, seed=0), 25)).reshape(10, 10)
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in examples)
    assert len({tuple(epoch.tolist()) for epoch in examples}) == 10


def test_a_data_set_smaller_than_a_batch_repeats():
    (indices, noise, _) = next(Loader(Numbers(3), 8, seed=0))
    assert [sorted(indices[:3].tolist()), sorted(indices[3:6].tolist())] == [[0, 1, 2]] * 2
    # The same example in another epoch is augmented in another way.
    assert len({tuple(row.tolist()) for row in noise}) == 8


def test_one_example_is_enough():
    assert stream(take(Loader(Numbers(1), 2, seed=0), 2)).tolist() == [0] * 4


def test_no_example_is_an_error():
    with pytest.raises(DataError, match="no examples"):
        Loader(Numbers(0), 2, seed=0)


def test_a_large_seed_counts_as_a_whole():
    seeds = [1, 1 + 2**32, 2**63 - 1]
    assert len({tuple(next(Loader(Numbers(50), 50, seed))[0].tolist()) for seed in seeds}) == 3


@pytest.mark.process
def test_workers_change_nothing():
    alone = take(Loader(Numbers(10), 4, seed=5), 12)
    loader = Loader(Numbers(10), 4, seed=5, workers=2)
    together = take(loader, 12)
    loader.close()
    assert_same(alone, together)
    assert {threads for _, _, threads in together} == {1}


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_another_stopped(workers):
    whole = take(Loader(Numbers(10), 4, seed=5), 12)
    first = Loader(Numbers(10), 4, seed=5, workers=workers)
    assert_same(take(first, 7), whole[:7])
    assert first.position == 7
    second = Loader(Numbers(10), 4, seed=5, workers=workers)
    second.load_state_dict(first.state_dict())
    assert_same(take(second, 5), whole[7:])
    # After iteration has begun, too, and backwards.
    second.load_state_dict({"position": 2})
    assert_same(take(second, 3), whole[2:5])
    assert second.state_dict() == {"position": 5, "examples": 10}
    first.close()
    second.close()


def test_ranks_share_a_batch():
    whole = take(Loader(Numbers(10), 12, seed=5), 4)
    ranks = [take(Loader(Numbers(10), 4, seed=5, rank=rank, world=3), 4) for rank in range(3)]
    for number, (indices, noise, _) in enumerate(whole):
        assert torch.equal(torch.stack([batches[number][0] for batches in ranks], 1).flatten(), indices)
        assert torch.equal(torch.stack([batches[number][1] for batches in ranks], 1).flatten(0, 1), noise)


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 2])
def test_no_global_random_numbers_are_drawn(workers):
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    loader = Loader(Numbers(10), 4, seed=5, workers=workers)
    take(loader, 4)
    loader.load_state_dict({"position": 9})
    take(loader, 4)
    loader.close()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1][1])
    assert np.random.get_state()[2:] == before[1][2:]
    assert random.getstate() == before[2]


@pytest.mark.process
def test_close_stops_the_workers_and_may_be_called_twice():
    loader = Loader(Numbers(10), 4, seed=5, workers=2)
    take(loader, 2)
    assert len(multiprocessing.active_children()) == 2
    loader.close()
    loader.close()
    assert multiprocessing.active_children() == []
    assert_same(take(loader, 1), take(Loader(Numbers(10), 4, seed=5), 3)[2:])
    loader.close()


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_comes_through_as_it_is_and_costs_no_batch(workers, tmp_path):
    loader = Loader(BrokenOnce(10, tmp_path / "mark"), 4, seed=5, workers=workers)
    batches = take(loader, 1)
    with pytest.raises(DataError, match="This batch is broken"):
        next(loader)
    assert loader.position == 1
    batches += take(loader, 3)
    loader.close()
    assert_same(batches, take(Loader(Numbers(10), 4, seed=5), 4))


def test_pin_memory_reaches_the_loader(monkeypatch):
    given = []
    made = torch.utils.data.DataLoader
    monkeypatch.setattr(
        torch.utils.data,
        "DataLoader",
        lambda *args, **options: given.append(options) or made(*args, **options),
    )
    loader = Loader(Numbers(10), 4, seed=5, pin_memory=True)
    with warnings.catch_warnings():
        # Since torch 2.7 without a GPU.
        warnings.filterwarnings("ignore", "'pin_memory'", UserWarning)
        assert next(loader)[0].is_pinned() == torch.accelerator.is_available()
    assert given[0]["pin_memory"]


def test_data_that_has_changed_since_is_warned_of():
    loader = Loader(Numbers(10), 4, seed=5)
    with pytest.warns(UserWarning, match=r"The data had 12 examples .* and now has 10"):
        loader.load_state_dict({"position": 3, "examples": 12})
    assert loader.position == 3


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "setpgrp"), reason="there are no process groups here")
def test_a_signal_to_the_process_group_leaves_the_workers_alone():
    loader = Loader(Groups(10), 4, seed=5, workers=1)
    assert int(next(loader)[0]) != os.getpgrp()
    loader.close()


class Groups(Numbers):
    """Tells the process group that it is asked in."""

    def batch(self, indices, draw):
        return torch.full((len(indices),), os.getpgrp())


@pytest.mark.parametrize("name", ["position", "examples"])
def test_a_state_that_was_altered_is_refused(name):
    loader = Loader(Numbers(10), 4, seed=5)
    take(loader, 2)
    for value in (-1, -(2**70), 2**62, 10**5000, True, 1.0, "3", None, [1], torch.tensor(3), np.int64(3)):
        with pytest.raises(CheckpointError, match=f"{name} = .*, not a number from 0") as caught:
            loader.load_state_dict({"position": 3, "examples": 10} | {name: value})
        assert "resume" in caught.value.hint
    # It goes on as if nothing had been.
    assert_same(take(loader, 1), take(Loader(Numbers(10), 4, seed=5), 3)[2:])


def test_a_state_without_a_position_is_refused():
    with pytest.raises(CheckpointError, match="position = None"):
        Loader(Numbers(10), 4, seed=5).load_state_dict({"examples": 10})


def test_the_furthest_position_still_counts():
    loader = Loader(Numbers(10), 4, seed=5, world=2)
    furthest = (2**62 - 1) // 8
    loader.load_state_dict({"position": furthest})
    assert len(next(loader)[0]) == 4
    with pytest.raises(CheckpointError, match="position"):
        loader.load_state_dict({"position": furthest + 1})


# Another batch size on the way.


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 2])
def test_another_batch_size_repeats_and_drops_nothing(workers):
    whole = stream(take(Loader(Numbers(10), 1, seed=5), 60))
    noise = torch.cat([batch[1] for batch in take(Loader(Numbers(10), 1, seed=5), 60)])
    loader = Loader(Numbers(10), 4, seed=5, workers=workers)
    batches = take(loader, 3)
    loader.resize(7)
    batches += take(loader, 4)
    loader.resize(1)
    batches += take(loader, 2)
    loader.resize(4)
    batches += take(loader, 2)
    loader.close()
    assert [len(batch[0]) for batch in batches] == [4] * 3 + [7] * 4 + [1] * 2 + [4] * 2
    assert torch.equal(stream(batches), whole[:50])
    assert torch.equal(torch.cat([batch[1] for batch in batches]), noise[:50])
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in stream(batches).reshape(5, 10))
    assert loader.state_dict() == {"position": 11, "start": 50, "examples": 10}


def test_ranks_share_batches_of_another_size():
    def some(loader, size):
        first = take(loader, 2)
        loader.resize(size)
        return first + take(loader, 3)

    whole = some(Loader(Numbers(10), 4, seed=5), 6)
    ranks = [some(Loader(Numbers(10), 2, seed=5, rank=rank, world=2), 3) for rank in range(2)]
    for number, (indices, _, _) in enumerate(whole):
        assert torch.equal(torch.stack([batches[number][0] for batches in ranks], 1).flatten(), indices)


def test_a_state_of_two_sizes_is_resumed_before_and_after_the_next_size():
    loader = Loader(Numbers(10), 4, seed=5)
    take(loader, 3)
    loader.resize(7)
    take(loader, 2)
    state = loader.state_dict()
    rest = take(loader, 3)
    for early in (True, False):
        other = Loader(Numbers(10), 4, seed=5)
        if early:
            other.resize(7)
        other.load_state_dict(state)
        if not early:
            other.resize(7)
        assert other.state_dict() == state
        assert_same(take(other, 3), rest)


def test_a_state_of_the_first_size_has_no_start():
    loader = Loader(Numbers(10), 4, seed=5)
    loader.resize(2)
    loader.resize(4)
    take(loader, 5)
    assert loader.state_dict() == {"position": 5, "examples": 10}


@pytest.mark.parametrize("start", [-1, 2**62, 10**400, 1.5, "1", True, None])
def test_a_start_that_can_not_be_is_an_error(start):
    with pytest.raises(CheckpointError, match="start ="):
        Loader(Numbers(10), 4, seed=5).load_state_dict({"position": 3, "start": start})
