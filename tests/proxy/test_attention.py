"""Attention within a pack: each position sees its own sequence's beginning, whichever kernel computes it."""

from typing import Any

import numpy as np
import pytest
import torch
from varlen import kernel

from ards_ray.proxy.attention import PackedAttention, varlen_works
from ards_ray.proxy.packing import Pack, Packer
from ards_ray.proxy.sequence import TokenSequence

WIDTH = 8


@pytest.fixture(scope="module")
def pack() -> Pack:
    """Three sequences that begin alike, one that does not, and one that is there twice."""
    random = np.random.default_rng(0)
    begin = random.integers(1, 50, 20)
    ids = [np.concatenate([begin, random.integers(1, 50, size)]) for size in (3, 30, 9)]
    ids += [random.integers(50, 90, 11), ids[0]]
    sequences = [TokenSequence(item.astype(np.int32), np.ones(len(item), bool), -1) for item in ids]
    packer = Packer(sequences, 99)
    return packer.pack(packer.order)


def states(pack: Pack, key_heads: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(len(pack), heads, WIDTH, generator=random) for heads in (4, key_heads, key_heads))
    return query, key, value


def naive(pack: Pack, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int | None) -> torch.Tensor:
    """Position by position, in double precision."""
    output = torch.zeros_like(query, dtype=torch.float64)
    for places in pack.places:
        for end, place in enumerate(places):
            seen = places[: end + 1] if window is None else places[max(0, end + 1 - window) : end + 1]
            for head in range(query.shape[1]):
                group = head * key.shape[1] // query.shape[1]
                scores = key[seen, group].double() @ query[place, head].double() * 0.3
                output[place, head] = scores.softmax(0) @ value[seen, group].double()
    return output


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("window", [None, 7, 500])
@pytest.mark.parametrize("varlen", [False, True])
def test_each_position_sees_its_own_beginning(
    pack: Pack, key_heads: int, window: int | None, varlen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour that is seen, or a part of the beginning that is not, changes every loss a little."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    query, key, value = states(pack, key_heads)
    attention = PackedAttention(pack, torch.device("cpu"), window, varlen)
    expected = naive(pack, query, key, value, window)
    for _ in range(2):
        found = attention(query, key, value, 0.3, None)
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    wanted = np.zeros(len(pack), bool)
    number = next(number for number, owned in enumerate(pack.owned) if 0 < owned < len(pack.places[number]))
    own = pack.places[number][-pack.owned[number] :]
    wanted[own[-1]] = True
    found = attention(query, key, value, 0.3, wanted)
    torch.testing.assert_close(found[own].double(), expected[own], atol=1e-5, rtol=1e-5)


def test_the_kernel_is_not_for_cpus_or_single_precision() -> None:
    """Where there is no such kernel nothing may call it."""
    for device in (torch.device("cpu"), torch.device("cuda")):
        arguments: Any = (device, torch.float32, 4, 2, WIDTH)
        assert not varlen_works(*arguments)
