"""Losses and conversation vectors of token sequences."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from ards_ray.proxy.attention import PackedAttention
from ards_ray.proxy.decoder import Decoded, Rotary, decode
from ards_ray.proxy.family import ProxyModel
from ards_ray.proxy.packing import Pack, Packer
from ards_ray.proxy.sequence import Picture, SequenceScore, TokenSequence

LOGIT_ROWS = 1024


@dataclass(frozen=True)
class Scored:
    """Scores of the sequences of one shard.

    Attributes:
        scores: One for each sequence. A sequence that cannot be computed even alone has an error.
        splits: How often a batch had to be split because it could not be computed whole.
        positions: Positions that went through the text model.
    """

    scores: list[SequenceScore]
    splits: int
    positions: int


@dataclass(frozen=True)
class Batch:
    """Sequences ready for the device.

    Attributes:
        pack: The sequences packed.
        ids: int64 [positions], on the device; the image token where a picture is shown.
        positions: int64, as the family's rotary embedding takes them.
        attention: The attention within the pack.
        wanted: bool [positions], where final hidden states are needed.
    """

    pack: Pack
    ids: torch.Tensor
    positions: torch.Tensor
    attention: PackedAttention
    wanted: np.ndarray


class Scorer:
    """Scores the sequences of one shard, batch by batch; what a batch is made of depends on the sequences alone."""

    def __init__(
        self,
        model: ProxyModel,
        sequences: Sequence[TokenSequence],
        pictures: Sequence[Picture],
        with_vector: Sequence[bool],
        attention: bool,
    ):
        self._model = model
        self._sequences = sequences
        self._pictures = pictures
        self._with_vector = with_vector
        self._attention = attention
        self._packer = Packer(sequences, model.image_token)

    def score(self, budget: int) -> Scored:
        """Score all; see `score_sequences`."""
        scores = [SequenceScore()] * len(self._sequences)
        splits = positions = 0
        pending = list(self._packer.batches(self._packer.order, budget))
        with torch.inference_mode(), ThreadPoolExecutor(1) as ahead:
            prepared: Future[Batch] | None = None
            while pending:
                batch = pending.pop(0)
                laid_out, prepared = prepared, None
                try:
                    ready = laid_out.result() if laid_out else self._prepare(batch)
                    # The next batch is laid out while this one is computed.
                    prepared = ahead.submit(self._prepare, pending[0]) if pending else None
                    results = self._score_batch(ready)
                    positions += len(ready.pack)
                except torch.AcceleratorError:
                    # The device is of no more use to this process, and other sequences would be blamed for it.
                    raise
                except (RuntimeError, ValueError, IndexError, MemoryError) as error:
                    if len(batch) > 1:
                        splits += 1
                        prepared = None
                        if isinstance(error, torch.OutOfMemoryError | MemoryError):
                            budget //= 2
                            rest = [index for later in (batch, *pending) for index in later]
                            pending = list(self._packer.batches(rest, budget))
                            if pending[0] == batch:
                                pending[:1] = _halves(batch)
                        else:
                            pending = _halves(batch) + pending
                        _release_memory()
                        continue
                    results = [SequenceScore(error=f"scoring failed: {type(error).__name__}: {error}")]
                doubtful = [index for index, result in zip(batch, results, strict=True) if result.error is not None]
                if doubtful and len(batch) > 1:
                    # A number that is not finite spoils what shares a beginning with it: each is tried alone.
                    splits += 1
                    prepared = None
                    pending = [[index] for index in doubtful] + pending
                for index, result in zip(batch, results, strict=True):
                    scores[index] = result
        return Scored(scores, splits, positions)

    def _prepare(self, indices: Sequence[int]) -> Batch:
        pack = self._packer.pack(indices)
        device = self._model.head.weight.device
        wanted = np.zeros(len(pack), dtype=bool)
        positions = np.empty((self._model.position_axes, len(pack)), dtype=np.int64)
        for index, places, owned in zip(pack.indices, pack.places, pack.owned, strict=True):
            sequence = self._sequences[index]
            picture = self._pictures[sequence.image] if sequence.image >= 0 else None
            if owned:
                positions[:, places[-owned:]] = self._model.positions(sequence.ids, picture)[:, -owned:]
            wanted[places[np.flatnonzero(sequence.targets) - 1]] = True
            wanted[places if self._with_vector[index] and self._attention else places[-1:]] = True
        return Batch(
            pack,
            torch.from_numpy(pack.ids).to(device),
            torch.from_numpy(positions).to(device),
            PackedAttention(pack, device, self._model.window, self._model.varlen),
            wanted,
        )

    def _score_batch(self, batch: Batch) -> list[SequenceScore]:
        model, pack = self._model, batch.pack
        rotary: Rotary = model.rotary(batch.positions)
        decoded = decode(model.text, self._embed(batch), rotary, batch.attention, batch.wanted)
        place_of = np.zeros(len(pack), dtype=np.int64)
        place_of[decoded.rows] = np.arange(len(decoded.rows))
        losses, correct = self._losses(pack, decoded, place_of)
        vectors = self._vectors(pack, decoded, place_of)
        return [
            SequenceScore(loss, hit, vector, _not_finite(loss, vector))
            for loss, hit, vector in zip(losses, correct, vectors, strict=True)
        ]

    def _embed(self, batch: Batch) -> torch.Tensor:
        """Embeddings [positions, width], the pictures' features in their places."""
        pack = batch.pack
        shown = pack.images >= 0
        embeddings = self._model.text.embed_tokens(batch.ids.masked_fill(batch.ids == self._model.image_token, 0))
        if shown.any():
            numbers = np.unique(pack.images[shown])
            features = self._model.image_features([self._pictures[number] for number in numbers])
            starts = np.cumsum([0, *map(len, features)])[:-1]
            rows = starts[np.searchsorted(numbers, pack.images[shown])] + pack.offsets[shown]
            places = torch.from_numpy(np.flatnonzero(shown)).to(embeddings.device)
            chosen = torch.cat(features)[torch.from_numpy(rows).to(embeddings.device)]
            embeddings[places] = chosen.to(embeddings.dtype)
        return embeddings

    def _losses(self, pack: Pack, decoded: Decoded, place_of: np.ndarray) -> tuple[list[float], list[bool]]:
        """Mean cross-entropy and exact repetition over each sequence's targets; logits only where they are needed."""
        targets = [np.flatnonzero(self._sequences[index].targets) for index in pack.indices]
        owners = np.repeat(np.arange(len(targets)), list(map(len, targets)))
        places = np.concatenate([path[place - 1] for path, place in zip(pack.places, targets, strict=True)])
        labels = np.concatenate(
            [self._sequences[index].ids[place] for index, place in zip(pack.indices, targets, strict=True)]
        )
        device = decoded.states.device
        rows = torch.from_numpy(place_of[places]).to(device)
        wanted = torch.from_numpy(labels.astype(np.int64)).to(device)
        weight = self._model.head.weight[: self._model.vocabulary]
        losses, hits = [], []
        for start in range(0, len(labels), LOGIT_ROWS):
            some = slice(start, start + LOGIT_ROWS)
            logits = _logits(decoded.states[rows[some]], weight)
            losses.append(torch.nn.functional.cross_entropy(logits, wanted[some], reduction="none"))
            hits.append(logits.argmax(dim=1) == wanted[some])
        loss = torch.cat(losses).double().cpu().numpy()
        hit = torch.cat(hits).cpu().numpy()
        counts = np.bincount(owners)
        return (
            (np.bincount(owners, loss) / counts).tolist(),
            (np.bincount(owners, hit) == counts).tolist(),
        )

    def _vectors(self, pack: Pack, decoded: Decoded, place_of: np.ndarray) -> list[np.ndarray | None]:
        """Conversation vectors r = [H_L/‖H_L‖ ; Ĥ/‖Ĥ‖], Ĥ = Σ_{t<L} Ā_{L,t} H_t (ARDS), where they are wanted.

        float32 [2d] each, or H_L/‖H_L‖ [d] alone.
        """
        chosen = [number for number, index in enumerate(pack.indices) if self._with_vector[index]]
        vectors: list[np.ndarray | None] = [None] * len(pack.indices)
        if not chosen:
            return vectors
        device = decoded.states.device
        last = torch.from_numpy(place_of[[pack.places[number][-1] for number in chosen]]).to(device)
        parts = [torch.nn.functional.normalize(decoded.states[last].float(), dim=1)]
        if self._attention:
            means = [
                self._attended_mean(decoded, pack.places[number], place_of[pack.places[number]]) for number in chosen
            ]
            parts.append(torch.nn.functional.normalize(torch.stack(means), dim=1))
        for number, vector in zip(chosen, torch.cat(parts, dim=1).cpu().numpy(), strict=True):
            vectors[number] = vector
        return vectors

    def _attended_mean(self, decoded: Decoded, path: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """Ĥ = Σ_{t<L} Ā_{L,t} H_t, float32 [d], of the sequence on a path whose states stand in some rows."""
        weights = decoded.attention_row(path, self._model.window)[:-1]
        states = decoded.states[torch.from_numpy(rows[:-1]).to(weights.device)]
        return (weights / weights.sum()) @ states.float()


def score_sequences(
    model: ProxyModel,
    sequences: Sequence[TokenSequence],
    pictures: Sequence[Picture],
    with_vector: Sequence[bool],
    attention: bool,
    budget: int,
) -> Scored:
    """Score the sequences of one shard.

    What sequences share from their beginning on, the system sentence and the picture above all, is computed once.

    Args:
        model: The proxy.
        sequences: The sequences, in any order.
        pictures: Their pictures.
        with_vector: For each sequence, whether its conversation vector is wanted.
        attention: Vectors hold the attention-weighted mean beside the last token.
        budget: Positions computed together; halved for the rest of the shard when memory runs out.
    """
    return Scorer(model, sequences, pictures, with_vector, attention).score(budget)


def _logits(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """float32 [n, vocabulary]. A product in half precision rounds logits by more than loss gaps are apart."""
    if states.device.type == "cuda" and states.dtype != torch.float32:
        return torch.mm(states, weight.T, out_dtype=torch.float32)
    return torch.nn.functional.linear(states.float(), weight.float())


def _halves(batch: list[int]) -> list[list[int]]:
    half = len(batch) // 2
    return [batch[:half], batch[half:]]


def _not_finite(loss: float, vector: np.ndarray | None) -> str | None:
    if not np.isfinite(loss):
        return "loss is not finite"
    return None if vector is None or np.isfinite(vector).all() else "vector is not finite"


def _release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
