"""The text model over a pack: decoders of Llama's shape (Llama, Mistral, Qwen2), layer by layer.

The layers are run here and not by the library's own loop because the last one is needed in part only: everywhere for
conversation vectors, at target positions alone for losses, and of its attention one row for each conversation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import rms_norm

from ards_ray.errors import SettingsError
from ards_ray.models.attention import PackedAttention

# Rows of a feed-forward layer computed together on a CPU: what lies between its products stays in the cache.
CPU_ROWS = 1024

Rotary = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Decoded:
    """What comes out of the text model.

    Attributes:
        rows: int64 [n], the positions in the pack that `states` is of, ascending.
        states: [n, width], their final hidden states.
        query: [positions, heads, head width], the last layer's, rotated; only where it was needed.
        key: [positions, key heads, head width], the last layer's, rotated.
        scale: Factor of the last layer's scores.
    """

    rows: np.ndarray
    states: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor
    scale: float

    def attention_row(self, path: np.ndarray, window: int | None) -> torch.Tensor:
        """The last layer's attention of a sequence's last position, averaged over heads: float32 [length].

        Args:
            path: int64 [length], the sequence's positions in the pack.
            window: How many positions it sees, its own included; None for all.
        """
        seen = path if window is None else path[-window:]
        query, key = self.query[int(path[-1])], self.key[torch.from_numpy(seen).to(self.key.device)]
        query = query.view(key.shape[1], -1, key.shape[2])
        scores = torch.einsum("kgd,tkd->kgt", query.float(), key.float()) * self.scale
        row = scores.softmax(dim=-1).mean(dim=(0, 1))
        return torch.nn.functional.pad(row, (len(path) - len(seen), 0))


def window_of(text: Any) -> int | None:
    """How many positions a position of a text model sees, its own included; None for all before it.

    Raises:
        SettingsError: some layers have a sliding window and others have none.
    """
    # Mistral has it in its configuration alone; Llama pays no regard to it, even if it is there.
    if text.config.model_type == "mistral":
        return int(text.config.sliding_window) if text.config.sliding_window else None
    windows = {getattr(layer.self_attn, "sliding_window", None) for layer in text.layers}
    if len(windows) > 1:
        raise SettingsError(
            f"{text.config.name_or_path}: layers with and without a sliding window; known are models with one kind"
        )
    window: int | None = windows.pop()
    return window


def decode(text: Any, hidden: torch.Tensor, rotary: Rotary, attention: PackedAttention, wanted: np.ndarray) -> Decoded:
    """Run the text model.

    Args:
        text: The library's text model.
        hidden: [positions, width], the embeddings.
        rotary: Cosines and sines [positions, head width].
        attention: The attention within the pack.
        wanted: bool [positions], where final hidden states are needed.
    """
    for block in text.layers[:-1]:
        query, key, value = _projections(block, hidden, rotary)
        attended = attention(query, key, value, block.self_attn.scaling, None)
        hidden = _rest_of_block(block, hidden, attended)
    block = text.layers[-1]
    query, key, value = _projections(block, hidden, rotary)
    attended = attention(query, key, value, block.self_attn.scaling, wanted)
    rows = np.flatnonzero(wanted)
    if len(rows) < len(wanted):
        index = torch.from_numpy(rows).to(hidden.device)
        hidden, attended = hidden[index], attended[index]
    states = _normal(text.norm, _rest_of_block(block, hidden, attended))
    return Decoded(rows, states, query, key, block.self_attn.scaling)


def _projections(block: Any, hidden: torch.Tensor, rotary: Rotary) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Query, key and value [positions, heads, head width]; the first two rotated."""
    attention = block.self_attn
    normal = _normal(block.input_layernorm, hidden)
    query, key, value = (
        projection(normal).view(len(hidden), -1, attention.head_dim)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    return _rotate(query, rotary), _rotate(key, rotary), value


def _rotate(states: torch.Tensor, rotary: Rotary) -> torch.Tensor:
    """Rotary position embedding: each number of the first half of a head turns with its partner in the second."""
    half = states.shape[2] // 2
    cos, sin = (part[:, None, :half] for part in rotary)
    first, second = states[..., :half], states[..., half:]
    rotated = torch.empty_like(states)
    torch.mul(first, cos, out=rotated[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=rotated[..., half:]).addcmul_(first, sin)
    return rotated


def _normal(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    """A layer norm of the library's, by PyTorch's own function: theirs takes several times as long."""
    return rms_norm(hidden, hidden.shape[-1:], module.weight, module.variance_epsilon)


def _rest_of_block(block: Any, hidden: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
    hidden = hidden + block.self_attn.o_proj(attended.flatten(1))
    for rows in hidden.split(CPU_ROWS if hidden.device.type == "cpu" else len(hidden)):
        normal = _normal(block.post_attention_layernorm, rows)
        gate = block.mlp.act_fn(block.mlp.gate_proj(normal))
        rows.add_(block.mlp.down_proj(gate.mul_(block.mlp.up_proj(normal))))
    return hidden
