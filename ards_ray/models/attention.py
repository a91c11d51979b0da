"""Causal attention over packed sequences: each position sees the earlier positions of its own sequence alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from ards_ray.models.packing import Pack


@dataclass(frozen=True)
class Segment:
    """The positions that one sequence adds to a pack.

    Attributes:
        start: The first of them in the pack.
        stop: Behind the last of them.
        path: int64 [length], the sequence's positions from its beginning on.
    """

    start: int
    stop: int
    path: torch.Tensor

    @property
    def owned(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Layout:
    """Segments as the variable-length kernel takes them.

    Attributes:
        rows: int64 [queries], the positions of all segments, one after the other; None if these are the whole pack.
        path: int64 [keys], their paths, one after the other.
        row_starts: int32 [segments + 1], where each segment's begin among `rows`.
        path_starts: int32 [segments + 1], where each segment's begin among `path`.
        most_rows: The most positions of a segment.
        most_path: The longest path.
    """

    rows: torch.Tensor | None
    path: torch.Tensor
    row_starts: torch.Tensor
    path_starts: torch.Tensor
    most_rows: int
    most_path: int


def _layout(segments: list[Segment], whole: bool) -> Layout:
    device = segments[0].path.device
    rows = None if whole else torch.cat([torch.arange(item.start, item.stop, device=device) for item in segments])
    owned, lengths = [item.owned for item in segments], [len(item.path) for item in segments]
    return Layout(
        rows=rows,
        path=torch.cat([item.path for item in segments]),
        row_starts=torch.tensor(np.cumsum([0, *owned]), dtype=torch.int32, device=device),
        path_starts=torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32, device=device),
        most_rows=max(owned),
        most_path=max(lengths),
    )


class PackedAttention:
    """Attention within a pack.

    By PyTorch's attention for each segment; on a GPU that has it, by its variable-length kernel for all at once.
    """

    def __init__(self, pack: Pack, device: torch.device, window: int | None, varlen: bool):
        self._window = window if window is not None and window < max(map(len, pack.places)) else None
        self._varlen = varlen
        self._masks: dict[int, torch.Tensor] = {}
        self._everywhere: Layout | None = None
        self.segments: list[Segment] = []
        start = 0
        for places, owned in zip(pack.places, pack.owned, strict=True):
            if owned:
                self.segments.append(Segment(start, start + owned, torch.from_numpy(places).to(device)))
                start += owned

    def __call__(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, wanted: np.ndarray | None
    ) -> torch.Tensor:
        """Attend.

        Args:
            query: [positions, heads, head width], rotated.
            key: [positions, key heads, head width], rotated.
            value: [positions, key heads, head width].
            scale: Factor of the scores.
            wanted: bool [positions], where the output is needed; None for everywhere. Segments without any are left
                out.

        Returns:
            [positions, heads, head width]; anything where it is not wanted.
        """
        segments = [item for item in self.segments if wanted is None or wanted[item.start : item.stop].any()]
        if self._varlen and segments:
            if wanted is not None:
                return self._attend_at_once(query, key, value, scale, _layout(segments, whole=False))
            self._everywhere = self._everywhere or _layout(segments, whole=True)
            return self._attend_at_once(query, key, value, scale, self._everywhere)
        output = torch.empty_like(query)
        for item in segments:
            output[item.start : item.stop] = self._attend(item, query, key, value, scale)
        return output

    def _attend(
        self, item: Segment, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Output [owned, heads, head width] of one segment."""
        length, owned = len(item.path), item.owned
        alone = length == owned
        # A causal square is computed by half: cheaper than a rectangle with a mask, unless it is mostly the beginning.
        square = self._window is None and 2 * owned >= length
        own = slice(item.start, item.stop)
        queries = query[own] if alone or not square else query[item.path]
        keys, values = (key[own], value[own]) if alone else (key[item.path], value[item.path])
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            keys, values = keys.repeat_interleave(groups, dim=1), values.repeat_interleave(groups, dim=1)
        attended = scaled_dot_product_attention(
            queries.transpose(0, 1)[None],
            keys.transpose(0, 1)[None],
            values.transpose(0, 1)[None],
            attn_mask=None if square else self._mask(item, query.dtype),
            is_causal=square,
            scale=scale,
        )
        return attended[0, :, -owned:].transpose(0, 1)

    def _mask(self, item: Segment, dtype: torch.dtype) -> torch.Tensor:
        """What is added to the scores [owned, length] of a segment; made once for all layers."""
        if item.start not in self._masks:
            place = torch.arange(len(item.path), device=item.path.device)
            row = place[-item.owned :, None]
            hidden = place > row
            if self._window is not None:
                hidden |= place <= row - self._window
            mask = torch.zeros(hidden.shape, dtype=dtype, device=item.path.device)
            self._masks[item.start] = mask.masked_fill_(hidden, float("-inf"))
        return self._masks[item.start]

    def _attend_at_once(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, layout: Layout
    ) -> torch.Tensor:
        from torch.nn.attention.varlen import varlen_attn

        attend: Any = varlen_attn
        # Not every version has the argument, which matters where heads share keys alone.
        shared_keys = {"enable_gqa": True} if query.shape[1] != key.shape[1] else {}
        attended = attend(
            query if layout.rows is None else query[layout.rows],
            key[layout.path],
            value[layout.path],
            layout.row_starts,
            layout.path_starts,
            layout.most_rows,
            layout.most_path,
            scale=scale,
            window_size=(-1 if self._window is None else self._window - 1, 0),
            **shared_keys,
        )
        if layout.rows is None:
            return attended
        output = torch.empty_like(query)
        output[layout.rows] = attended
        return output


def varlen_works(device: torch.device, dtype: torch.dtype, heads: int, key_heads: int, width: int) -> bool:
    """Whether PyTorch's variable-length kernel can be used for this device and type."""
    return device.type == "cuda" and varlen_problem(device, dtype, heads, key_heads, width) is None


def varlen_problem(device: torch.device, dtype: torch.dtype, heads: int, key_heads: int, width: int) -> str | None:
    """Why PyTorch's variable-length kernel cannot be used with this type; None if it agrees with its attention.

    Which kernel that is (FlashAttention 2, or 3 where it is installed) depends on the machine, and so may how it
    aligns queries with longer keys: it is tried on a small pack rather than believed.
    """
    if dtype == torch.float32:
        return "it does not take float32"
    pack = Pack(
        indices=[0, 1],
        places=[np.arange(48), np.concatenate([np.arange(40), np.arange(48, 64)])],
        owned=[48, 16],
        ids=np.zeros(64, dtype=np.int64),
        images=np.full(64, -1),
        offsets=np.zeros(64, dtype=np.int64),
    )
    random = torch.Generator(device).manual_seed(0)
    query, key, value = (
        torch.randn(64, count, width, generator=random, device=device, dtype=dtype)
        for count in (heads, key_heads, key_heads)
    )
    for window in (None, 8):
        # In single precision, by the backend that is plain arithmetic: no kernel is its own judge.
        with sdpa_kernel(SDPBackend.MATH):
            expected = PackedAttention(pack, device, window, varlen=False)(
                query.float(), key.float(), value.float(), width**-0.5, None
            )
        try:
            found = PackedAttention(pack, device, window, varlen=True)(query, key, value, width**-0.5, None)
        except torch.AcceleratorError:
            raise
        except (RuntimeError, ImportError, TypeError) as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
        if not torch.allclose(found.float(), expected, atol=3e-2, rtol=3e-2):
            return f"it differs from plain attention by {float((found.float() - expected).abs().max()):.2g}"
    return None
