"""Losses and conversation vectors of token sequences."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ards_ray.proxy.family import ProxyModel
from ards_ray.proxy.sequence import SequenceScore, TokenSequence

LOGIT_ROWS = 1024


def score_sequences(
    model: ProxyModel,
    sequences: Sequence[TokenSequence],
    pixels: np.ndarray,
    with_vector: Sequence[bool],
    attention: bool,
    budget: int,
) -> tuple[list[SequenceScore], int]:
    """Score the sequences of one shard.

    Args:
        model: The proxy.
        sequences: The sequences, in any order.
        pixels: uint8 [images, height, width, 3].
        with_vector: For each sequence, whether its conversation vector is wanted.
        attention: Vectors hold the attention-weighted mean beside the last token.
        budget: Positions computed together. What is computed together depends on the sequences alone.

    Returns:
        A score for each sequence, and how often a batch had to be split because it could not be computed whole.
        A sequence that cannot be computed even alone has an error.
    """
    scores: list[SequenceScore] = [SequenceScore()] * len(sequences)
    splits = 0
    with torch.inference_mode():
        features = _image_features(model, pixels, budget)
        pending = list(reversed(list(_batches(sequences, budget))))
        while pending:
            batch = pending.pop()
            chosen = [sequences[index] for index in batch]
            try:
                results = _score_batch(model, chosen, features, [with_vector[index] for index in batch], attention)
            except torch.AcceleratorError:
                # The device is of no more use to this process, and other sequences would be blamed for it.
                raise
            except (RuntimeError, ValueError, IndexError, MemoryError) as error:
                if len(batch) > 1:
                    splits += 1
                    half = len(batch) // 2
                    pending += [batch[half:], batch[:half]]
                    _release_memory()
                    continue
                results = [SequenceScore(error=f"scoring failed: {type(error).__name__}: {error}")]
            for index, result in zip(batch, results, strict=True):
                scores[index] = result
    return scores, splits


def _batches(sequences: Sequence[TokenSequence], budget: int) -> Iterator[list[int]]:
    """Longest first, as many as fit the budget when padded to the longest."""
    order = sorted(range(len(sequences)), key=lambda index: (-len(sequences[index]), index))
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * len(sequences[batch[0]]) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _image_features(model: ProxyModel, pixels: np.ndarray, budget: int) -> list[torch.Tensor]:
    """Features of each image, [positions, width]."""
    size = max(1, budget // model.image_positions)
    features: list[torch.Tensor] = []
    while len(features) < len(pixels):
        try:
            features += model.image_features(torch.tensor(pixels[len(features) : len(features) + size]))
        except (torch.OutOfMemoryError, MemoryError):
            if size == 1:
                raise
            size //= 2
            _release_memory()
    return features


def _score_batch(
    model: ProxyModel,
    sequences: Sequence[TokenSequence],
    features: list[torch.Tensor],
    with_vector: Sequence[bool],
    attention: bool,
) -> list[SequenceScore]:
    device = model.head.weight.device
    longest = max(map(len, sequences))
    ids = np.zeros((len(sequences), longest), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence.ids
    shown = [features[sequence.image] if sequence.image >= 0 else None for sequence in sequences]
    embeddings = model.embed(torch.from_numpy(ids).to(device), shown)
    last = torch.tensor([len(sequence) - 1 for sequence in sequences], device=device)
    hidden, attended = model.last_layer(embeddings, last)
    losses, correct = _losses(model, hidden, sequences)
    vectors = conversation_vectors(hidden, attended, last, attention)
    return [
        SequenceScore(
            loss=losses[index],
            correct=correct[index],
            vector=vectors[index] if with_vector[index] else None,
            error=_not_finite(losses[index], vectors[index]),
        )
        for index in range(len(sequences))
    ]


def _not_finite(loss: float, vector: np.ndarray) -> str | None:
    if not np.isfinite(loss):
        return "loss is not finite"
    return None if np.isfinite(vector).all() else "vector is not finite"


def _losses(
    model: ProxyModel, hidden: torch.Tensor, sequences: Sequence[TokenSequence]
) -> tuple[list[float], list[bool]]:
    """Mean cross-entropy and exact repetition over each sequence's targets; logits only where they are needed."""
    owners = np.concatenate([np.full(sequence.targets.sum(), row) for row, sequence in enumerate(sequences)])
    places = np.concatenate([np.flatnonzero(sequence.targets) for sequence in sequences])
    labels = np.concatenate([sequence.ids[sequence.targets] for sequence in sequences])
    states = hidden[torch.from_numpy(owners), torch.from_numpy(places - 1)]
    weight = model.head.weight[: model.vocabulary]
    wanted = torch.from_numpy(labels.astype(np.int64)).to(states.device)
    losses, hits = [], []
    for start in range(0, len(labels), LOGIT_ROWS):
        logits = torch.nn.functional.linear(states[start : start + LOGIT_ROWS], weight).float()
        target = wanted[start : start + LOGIT_ROWS]
        losses.append(torch.nn.functional.cross_entropy(logits, target, reduction="none"))
        hits.append(logits.argmax(dim=1) == target)
    loss = torch.cat(losses).double().cpu().numpy()
    hit = torch.cat(hits).cpu().numpy()
    return (
        [float(loss[owners == row].mean()) for row in range(len(sequences))],
        [bool(hit[owners == row].all()) for row in range(len(sequences))],
    )


def conversation_vectors(hidden: torch.Tensor, row: torch.Tensor, last: torch.Tensor, attention: bool) -> np.ndarray:
    """Conversation vectors r = [H_L/‖H_L‖ ; Ĥ/‖Ĥ‖], Ĥ = Σ_{t<L} Ā_{L,t} H_t (ARDS).

    Args:
        hidden: [batch, positions, d] final hidden states.
        row: float32 [batch, positions], attention of the last position.
        last: int64 [batch], each sequence's last position L.
        attention: Without it the vector is H_L/‖H_L‖ alone.

    Returns:
        float32 [batch, 2d], or [batch, d].
    """
    rows = torch.arange(len(last), device=hidden.device)
    states = hidden.float()
    final = torch.nn.functional.normalize(states[rows, last], dim=1)
    if not attention:
        return final.cpu().numpy()
    weights = row.clone()
    weights[rows, last] = 0
    weights /= weights.sum(dim=1, keepdim=True)
    mean = torch.einsum("bt,btd->bd", weights, states)
    return torch.cat([final, torch.nn.functional.normalize(mean, dim=1)], dim=1).cpu().numpy()


def _release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
