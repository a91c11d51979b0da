"""A stand-in for the one thing that tests cannot run: a kernel that needs a GPU."""

import torch


def older_kernel(query, key, value, row_starts, path_starts, most_rows, most_path, *, scale, window_size):  # type: ignore[no-untyped-def]
    """PyTorch's variable-length kernel as its documentation and FlashAttention's describe it: it needs a GPU."""
    assert window_size[1] == 0
    output = torch.empty_like(query)
    for number in range(len(row_starts) - 1):
        rows = slice(int(row_starts[number]), int(row_starts[number + 1]))
        path = slice(int(path_starts[number]), int(path_starts[number + 1]))
        assert rows.stop - rows.start <= most_rows
        assert path.stop - path.start <= most_path
        keys, values = (item[path].repeat_interleave(query.shape[1] // key.shape[1], 1) for item in (key, value))
        ends = torch.arange(path.stop - path.start)[-(rows.stop - rows.start) :, None]
        place = torch.arange(path.stop - path.start)
        hidden = place > ends
        if window_size[0] >= 0:
            hidden |= place < ends - window_size[0]
        scores = torch.einsum("qhd,khd->hqk", query[rows], keys) * scale
        output[rows] = torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, float("-inf")).softmax(-1), values)
    return output


def kernel(*arguments, enable_gqa=False, **more):  # type: ignore[no-untyped-def]
    """The kernel of versions that let heads share keys, if that is asked for."""
    assert enable_gqa == (arguments[0].shape[1] != arguments[1].shape[1])
    return older_kernel(*arguments, **more)
