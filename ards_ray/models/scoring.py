"""Losses and conversation vectors of token sequences."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from ards_ray.models.attention import PackedAttention
from ards_ray.models.decoder import Decoded, Rotary, decode
from ards_ray.models.family import ProxyModel
from ards_ray.models.packing import Pack, Packer
from ards_ray.models.sequence import Picture, SequenceScore, TokenSequence

LOGIT_ROWS = 1024
# So many sequences that all fail mean that something else is wrong than the sequences.
SYSTEMATIC = 16


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
        # Of the pictures of the batch before: one with more conversations than fit a batch is seen once all the same.
        self._features: dict[int, torch.Tensor] = {}

    def score(self, budget: int) -> Scored:
        """Score all; see `score_sequences`."""
        scores = [SequenceScore()] * len(self._sequences)
        splits = positions = failures = 0
        pending = list(self._packer.batches(self._packer.order, budget))
        with torch.inference_mode(), ThreadPoolExecutor(1) as executor:
            ahead = _Ahead(executor, self._prepare)
            while pending:
                batch = pending.pop(0)
                failure: Exception | None = None
                try:
                    ready = ahead.take(batch, pending)
                    results = self._score_batch(ready)
                    positions += len(ready.pack)
                except (RuntimeError, ValueError, MemoryError) as error:
                    if isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error):
                        # The device is of no more use to this process, and other sequences would be blamed for it.
                        raise
                    # Without its trace, which keeps all that the batch had allocated.
                    failure = error.with_traceback(None)
                if failure is not None and len(batch) > 1:
                    splits += 1
                    pending, budget = self._recut(batch, pending, failure, budget)
                    continue
                if failure is not None:
                    failures += 1
                    if failures == len(scores) >= SYSTEMATIC:
                        raise failure
                    results = [SequenceScore(error=f"scoring failed: {type(failure).__name__}: {failure}")]
                doubtful = [index for index, result in zip(batch, results, strict=True) if result.error is not None]
                if doubtful and len(batch) > 1:
                    # A number that is not finite spoils what shares a beginning with it: each is tried alone.
                    splits += 1
                    pending = [[index] for index in doubtful] + pending
                for index, result in zip(batch, results, strict=True):
                    scores[index] = result
        return Scored(scores, splits, positions)

    def _recut(
        self, batch: list[int], pending: list[list[int]], failure: Exception, budget: int
    ) -> tuple[list[list[int]], int]:
        """What is to be computed after a batch of several failed, and the budget from now on."""
        self._features.clear()
        _release_memory()
        half = len(batch) // 2
        halves = [batch[:half], batch[half:]]
        if not is_out_of_memory(failure):
            return halves + pending, budget
        budget //= 2
        pending = list(self._packer.batches([index for later in (batch, *pending) for index in later], budget))
        return (halves + pending[1:] if pending[0] == batch else pending), budget

    def _prepare(self, indices: Sequence[int]) -> Batch:
        pack = self._packer.pack(indices)
        device = self._model.head.weight.device
        wanted = np.zeros(len(pack), dtype=bool)
        positions = np.empty((self._model.position_axes, len(pack)), dtype=np.int64)
        for index, places, owned in zip(pack.indices, pack.places, pack.owned, strict=True):
            sequence = self._sequences[index]
            shown = [self._pictures[sequence.image]] if sequence.image >= 0 else []
            if owned:
                positions[:, places[-owned:]] = self._model.positions(sequence.ids, shown)[:, -owned:]
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
        # All is under way on the device before the first number is waited for.
        vectors = self._vectors(pack, decoded, place_of)
        losses, correct = self._losses(pack, decoded, place_of)
        found: list[np.ndarray | None] = [None] * len(pack.indices)
        if vectors is not None:
            wanted = [number for number, index in enumerate(pack.indices) if self._with_vector[index]]
            for number, vector in zip(wanted, vectors.cpu().numpy(), strict=True):
                found[number] = vector
        return [
            SequenceScore(loss, hit, vector, _not_finite(loss, vector))
            for loss, hit, vector in zip(losses, correct, found, strict=True)
        ]

    def _embed(self, batch: Batch) -> torch.Tensor:
        """Embeddings [positions, width], the pictures' features in their places."""
        pack = batch.pack
        shown = pack.images >= 0
        embeddings = self._model.text.embed_tokens(batch.ids.masked_fill(batch.ids == self._model.image_token, 0))
        if shown.any():
            numbers = np.unique(pack.images[shown])
            new = [number for number in numbers.tolist() if number not in self._features]
            if new:
                seen = self._model.image_features([self._pictures[number] for number in new])
                self._features |= dict(zip(new, seen, strict=True))
            self._features = {number: self._features[number] for number in numbers.tolist()}
            features = list(self._features.values())
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
        # A product in half precision rounds logits by more than loss gaps are apart.
        exact = weight if weight.device.type == "cuda" else weight.float()
        losses, hits = [], []
        for start in range(0, len(labels), LOGIT_ROWS):
            some = slice(start, start + LOGIT_ROWS)
            logits = logits_of(decoded.states[rows[some]], exact)
            losses.append(torch.nn.functional.cross_entropy(logits, wanted[some], reduction="none"))
            hits.append(logits.argmax(dim=1) == wanted[some])
        loss = torch.cat(losses).double().cpu().numpy()
        hit = torch.cat(hits).cpu().numpy()
        counts = np.bincount(owners)
        return (
            (np.bincount(owners, loss) / counts).tolist(),
            (np.bincount(owners, hit) == counts).tolist(),
        )

    def _vectors(self, pack: Pack, decoded: Decoded, place_of: np.ndarray) -> torch.Tensor | None:
        """Conversation vectors r = [H_L/‖H_L‖ ; Ĥ/‖Ĥ‖], Ĥ = Σ_{t<L} Ā_{L,t} H_t (ARDS), where they are wanted.

        float32 [n, 2d], or H_L/‖H_L‖ [n, d] alone; None if none is wanted.
        """
        chosen = [number for number, index in enumerate(pack.indices) if self._with_vector[index]]
        if not chosen:
            return None
        device = decoded.states.device
        last = torch.from_numpy(place_of[[pack.places[number][-1] for number in chosen]]).to(device)
        parts = [torch.nn.functional.normalize(decoded.states[last].float(), dim=1)]
        if self._attention:
            means = [
                self._attended_mean(decoded, pack.places[number], place_of[pack.places[number]]) for number in chosen
            ]
            parts.append(torch.nn.functional.normalize(torch.stack(means), dim=1))
        return torch.cat(parts, dim=1)

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
    An error that all of many sequences have is the program's or the machine's, and is raised.

    Args:
        model: The proxy.
        sequences: The sequences, in any order.
        pictures: Their pictures.
        with_vector: For each sequence, whether its conversation vector is wanted.
        attention: Vectors hold the attention-weighted mean beside the last token.
        budget: Positions computed together; halved for the rest of the shard when memory runs out. The next shard
            begins with the whole again: what its batches are made of must not depend on the shards before.
    """
    return Scorer(model, sequences, pictures, with_vector, attention).score(budget)


def logits_of(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """float32 [n, vocabulary], of weights in half precision as well where the device multiplies them so."""
    if weight.dtype == torch.float32:
        return torch.nn.functional.linear(states.float(), weight)
    return torch.mm(states, weight.T, out_dtype=torch.float32)


def is_out_of_memory(error: Exception) -> bool:
    """Besides its own class PyTorch raises plain errors: of the CPU's allocator, of cuBLAS, of the driver."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        sign in text for sign in ("out of memory", "can't allocate memory", "ALLOC_FAILED")
    )


class _Ahead:
    """Lays out the next batch in another thread while one is computed."""

    def __init__(self, executor: ThreadPoolExecutor, prepare: Callable[[Sequence[int]], Batch]):
        self._executor = executor
        self._prepare = prepare
        self._next: tuple[list[int], Future[Batch]] | None = None

    def take(self, batch: list[int], pending: Sequence[list[int]]) -> Batch:
        """A batch laid out; the first of those that are pending is begun."""
        expected, self._next = self._next, None
        ready = expected[1].result() if expected is not None and expected[0] == batch else self._prepare(batch)
        if pending:
            self._next = pending[0], self._executor.submit(self._prepare, pending[0])
        return ready


def _not_finite(loss: float, vector: np.ndarray | None) -> str | None:
    if not np.isfinite(loss):
        return "loss is not finite"
    return None if vector is None or np.isfinite(vector).all() else "vector is not finite"


def _release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
