"""Attention within a pack: each position sees its own sequence's beginning, whichever kernel computes it."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from varlen import kernel, older_kernel

from ards_ray.models.attention import PackedAttention, varlen_problem, varlen_works
from ards_ray.models.loading import use_varlen
from ards_ray.models.packing import Pack, Packer
from ards_ray.models.sequence import TokenSequence

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


VARLEN = "torch.nn.attention.varlen.varlen_attn"
CPU = torch.device("cpu")


def test_a_kernel_without_shared_keys(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older versions of PyTorch have it: every model whose heads have keys of their own is served by it."""
    monkeypatch.setattr(VARLEN, older_kernel)
    query, key, value = states(pack, 4)
    found = PackedAttention(pack, CPU, None, True)(query, key, value, 0.3, None)
    torch.testing.assert_close(found.double(), naive(pack, query, key, value, None), atol=1e-5, rtol=1e-5)
    assert varlen_problem(CPU, torch.bfloat16, 4, 4, WIDTH) is None
    problem = varlen_problem(CPU, torch.bfloat16, 4, 2, WIDTH)
    assert problem is not None
    assert problem.startswith("TypeError")
    assert "enable_gqa" in problem


def test_a_kernel_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another alignment of queries and keys would change every loss; it is not used, and the reason is told."""
    monkeypatch.setattr(VARLEN, kernel)
    assert varlen_problem(CPU, torch.bfloat16, 4, 2, WIDTH) is None

    def reversed_rows(*arguments: Any, **more: Any) -> torch.Tensor:
        found: torch.Tensor = kernel(*arguments, **more)
        return found.flip(0)

    monkeypatch.setattr(VARLEN, reversed_rows)
    assert str(varlen_problem(CPU, torch.bfloat16, 4, 2, WIDTH)).startswith("it differs from plain attention by")


def test_the_reason_is_told_where_the_kernel_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without it a GPU scores at a fraction of its speed, and nobody would know."""
    weight = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    attention = SimpleNamespace(q_proj=SimpleNamespace(weight=weight), head_dim=WIDTH)
    text = SimpleNamespace(
        layers=[SimpleNamespace(self_attn=attention)],
        config=SimpleNamespace(num_attention_heads=4, num_key_value_heads=2),
    )
    monkeypatch.setattr("torch.nn.attention.list_flash_attention_impls", list)
    with caplog.at_level(logging.WARNING):
        assert not use_varlen(text)
    assert [record.message for record in caplog.records] == [
        "PyTorch's variable-length attention is not used (it does not take float32); segments are computed one by one, "
        "which is slower"
    ]
