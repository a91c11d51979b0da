"""What the engine is measured against: the library's own forward passes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize
from transformers.models.llama.modeling_llama import rotate_half

from ards_ray.benchmark.conversations import SyntheticConversation
from ards_ray.models.clip import Normaliser
from ards_ray.models.sequence import Picture, SequenceScore, TokenSequence

IGNORED = -100


class Library:
    """A LLaVA of the library's, counting the positions that it computes."""

    def __init__(self, model: Any, pictures: Sequence[Picture], budget: int):
        self._model = model
        self._pictures = pictures
        self._budget = budget
        self._vocabulary: int = model.config.image_token_index
        weight = model.lm_head.weight
        self._device = weight.device
        self._normalise = Normaliser(weight.device, weight.dtype)
        self.positions = 0

    def reference(self, conversations: Sequence[SyntheticConversation]) -> list[list[SequenceScore]]:
        """As the published implementation does it, one conversation at a time with eager attention.

        One pass with every attention matrix and hidden state returned for the vector, then one for the clean loss and
        one for the corrupted loss, with logits everywhere.
        """
        self._model.set_attn_implementation("eager")
        scores = []
        for conversation in conversations:
            answer = self._forward([conversation.clean], output_attentions=True, output_hidden_states=True)
            row = answer.attentions[-1][0].float().mean(dim=0)[-1, :-1]
            hidden = answer.hidden_states[-1][0].float()
            mean = (row / row.sum()) @ hidden[:-1]
            vector = torch.cat([normalize(hidden[-1], dim=0), normalize(mean, dim=0)]).cpu().numpy()
            del answer, hidden
            versions = [item for item in (conversation.clean, conversation.corrupted) if item is not None]
            results = [self._loss(version) for version in versions]
            results[0] = SequenceScore(results[0].loss, results[0].correct, vector)
            scores.append(results)
        return scores

    def plain(self, conversations: Sequence[SyntheticConversation]) -> list[list[SequenceScore]]:
        """One pass for each version, batched by length and padded, logits at targets alone, one row of attention."""
        self._model.set_attn_implementation("sdpa")
        versions = [
            (number, version, clean)
            for number, item in enumerate(conversations)
            for version, clean in ((item.clean, True), (item.corrupted, False))
            if version is not None
        ]
        order = sorted(range(len(versions)), key=lambda index: -len(versions[index][1]))
        found: dict[int, SequenceScore] = {}
        while order:
            size = max(1, self._budget // len(versions[order[0]][1]))
            batch, order = order[:size], order[size:]
            chosen = [versions[index] for index in batch]
            found.update(zip(batch, self._score_batch([item[1:] for item in chosen]), strict=True))
        scores: list[list[SequenceScore]] = [[] for _ in conversations]
        for index, (number, _, _) in enumerate(versions):
            scores[number].append(found[index])
        return scores

    def _forward(self, sequences: Sequence[TokenSequence], part: Any = None, **options: Any) -> Any:
        longest = max(map(len, sequences))
        ids = np.zeros((len(sequences), longest), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence.ids
        self.positions += ids.size
        shown = [self._pictures[sequence.image].pixels for sequence in sequences if sequence.image >= 0]
        return (part or self._model)(
            input_ids=torch.from_numpy(ids).to(self._device),
            pixel_values=self._normalise(np.concatenate(shown)) if shown else None,
            use_cache=False,
            **options,
        )

    def _loss(self, sequence: TokenSequence) -> SequenceScore:
        logits = self._forward([sequence]).logits[0, :-1, : self._vocabulary].float()
        labels = torch.from_numpy(np.where(sequence.targets, sequence.ids, IGNORED)[1:].astype(np.int64))
        labels = labels.to(logits.device)
        loss = cross_entropy(logits, labels, ignore_index=IGNORED)
        hit = (logits.argmax(dim=1) == labels)[labels != IGNORED].all()
        return SequenceScore(float(loss), bool(hit))

    def _score_batch(self, versions: Sequence[tuple[TokenSequence, bool]]) -> list[SequenceScore]:
        """Scores of some sequences, with vectors of those that are marked."""
        sequences = [sequence for sequence, _ in versions]
        attention = self._model.model.language_model.layers[-1].self_attn
        seen: dict[str, Any] = {}
        hook = attention.register_forward_pre_hook(lambda module, args, named: seen.update(named), with_kwargs=True)
        try:
            states = self._forward(sequences, self._model.model).last_hidden_state
        finally:
            hook.remove()
        marked = [number for number, (_, with_vector) in enumerate(versions) if with_vector]
        last = torch.tensor([len(sequences[number]) - 1 for number in marked], device=states.device)
        rows = _attention_row(attention, seen["hidden_states"][marked], seen["position_embeddings"], last)
        row = dict(zip(marked, rows, strict=True))
        results = []
        for number, sequence in enumerate(sequences):
            places = torch.from_numpy(np.flatnonzero(sequence.targets)).to(states.device)
            logits = self._model.lm_head(states[number, places - 1])[:, : self._vocabulary].float()
            labels = torch.from_numpy(sequence.ids[sequence.targets].astype(np.int64)).to(states.device)
            vector = None
            if number in row:
                end = len(sequence) - 1
                hidden, weights = states[number].float(), row[number][:end]
                mean = (weights / weights.sum()) @ hidden[:end]
                vector = torch.cat([normalize(hidden[end], dim=0), normalize(mean, dim=0)]).cpu().numpy()
            hit = (logits.argmax(dim=1) == labels).all()
            results.append(SequenceScore(float(cross_entropy(logits, labels)), bool(hit), vector))
        return results


def _attention_row(
    attention: Any, hidden: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor], last: torch.Tensor
) -> torch.Tensor:
    """How each sequence's last position looks at the others, averaged over heads: float32 [batch, positions]."""
    batch, positions, _ = hidden.shape
    rows = torch.arange(batch, device=hidden.device)
    cos, sin = (part.expand(batch, -1, -1) for part in rotary)
    query = attention.q_proj(hidden[rows, last]).view(batch, -1, attention.head_dim)
    key = attention.k_proj(hidden).view(batch, positions, -1, attention.head_dim)
    query = query * cos[rows, last].unsqueeze(1) + rotate_half(query) * sin[rows, last].unsqueeze(1)
    key = key * cos.unsqueeze(2) + rotate_half(key) * sin.unsqueeze(2)
    query = query.view(batch, key.shape[2], -1, attention.head_dim)
    scores = torch.einsum("bkgd,btkd->bkgt", query, key).float() * attention.scaling
    place = torch.arange(positions, device=hidden.device)
    scores = scores.masked_fill((place > last.unsqueeze(1))[:, None, None], float("-inf"))
    return scores.softmax(dim=-1).mean(dim=(1, 2))
