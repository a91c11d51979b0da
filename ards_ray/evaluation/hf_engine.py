"""The transformers engine: the library's text model, greedy, over batches of requests padded in front."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import DynamicCache

from ards_ray.errors import ConversationError
from ards_ray.evaluation.engine import (
    WIDTH,
    Ask,
    EngineSettings,
    Shown,
    decode_answer,
    encode_all,
    first_tokens,
    tokens_of,
)
from ards_ray.models.family import load_inputs, load_model
from ards_ray.models.scoring import is_out_of_memory, logits_of

# Those of a full width of pictures, for the largest of them.
_FEATURE_BYTES = 4 << 30
_PICTURES = 32


class HfEngine:
    """The model in this process. The features of images are kept while their questions are under way."""

    takes_images = False
    width = WIDTH

    def __init__(self, settings: EngineSettings, folder: Path):
        self.inputs = load_inputs(folder)
        self._tokens = tokens_of(self.inputs, folder, settings.answer_tokens)
        torch.set_num_threads(settings.threads)
        self._model = load_model(folder, settings.proxy)
        self._ranks = settings.score == "letters"
        self._budget = settings.batch_positions
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()

    def answer(self, asks: Sequence[Ask]) -> list[str | ConversationError]:
        """See `Engine.answer`."""
        encoded = encode_all(self.inputs, self._tokens, asks)
        answers: list[str | ConversationError] = [ids if isinstance(ids, ConversationError) else "" for ids in encoded]
        prompts = {index: ids for index, ids in enumerate(encoded) if not isinstance(ids, ConversationError)}
        with torch.inference_mode():
            for batch in self._batches(prompts):
                for index, answer in zip(batch, self._answer_batch(asks, prompts, batch), strict=True):
                    answers[index] = answer
        return answers

    def _batches(self, prompts: Mapping[int, np.ndarray]) -> Iterator[list[int]]:
        """Requests of similar length together, up to the budget of positions with the padding counted."""
        batch: list[int] = []
        for index in sorted(prompts, key=lambda index: (-len(prompts[index]), index)):
            if batch and (len(batch) + 1) * len(prompts[batch[0]]) > self._budget:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _answer_batch(
        self, asks: Sequence[Ask], prompts: Mapping[int, np.ndarray], batch: Sequence[int]
    ) -> Sequence[str | ConversationError]:
        try:
            return self._say([asks[index] for index in batch], [prompts[index] for index in batch])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            others = self._features.keys() - {shown.key for index in batch for shown in asks[index].images}
            if len(batch) == 1 and not others:
                length = len(prompts[batch[0]])
                return [ConversationError("does not fit the memory", f"{length:,} positions: {error}")]
        self._features.clear()
        torch.cuda.empty_cache()
        if len(batch) == 1:
            return self._answer_batch(asks, prompts, batch)
        half = len(batch) // 2
        return [answer for part in (batch[:half], batch[half:]) for answer in self._answer_batch(asks, prompts, part)]

    def _say(self, asks: Sequence[Ask], prompts: Sequence[np.ndarray]) -> list[str]:
        """The answers to requests that are computed together."""
        features = self._see([shown for ask in asks for shown in ask.images])
        text, device = self._model.text, self._model.head.weight.device
        length = max(map(len, prompts))
        ids = np.zeros((len(prompts), length), dtype=np.int64)
        seen = np.zeros((len(prompts), length + self._tokens.answer), dtype=np.int64)
        positions = np.zeros((self._model.position_axes, len(prompts), length), dtype=np.int64)
        for row, (ask, prompt) in enumerate(zip(asks, prompts, strict=True)):
            start = length - len(prompt)
            ids[row, start:] = prompt
            seen[row, start:] = 1
            positions[:, row, start:] = self._model.positions(prompt, [shown.picture for shown in ask.images])
        hidden = text.embed_tokens(torch.from_numpy(ids).to(device))
        shown = torch.from_numpy(np.argwhere((ids == self._model.image_token) & (seen[:, :length] > 0))).to(device)
        if features:
            hidden[shown[:, 0], shown[:, 1]] = torch.cat([features[one.key] for ask in asks for one in ask.images])
        mask, places = torch.from_numpy(seen).to(device), torch.from_numpy(positions).to(device)
        cache = DynamicCache(config=text.config)
        answers: list[list[int]] = [[] for _ in asks]
        ranked = [first_tokens(self.inputs, ask.symbols) if self._ranks and ask.symbols else None for ask in asks]
        done = [False] * len(asks)
        for step in range(self._tokens.answer):
            out = text(
                inputs_embeds=hidden,
                attention_mask=mask[:, : length + step],
                # Models with positions in one dimension take them without it.
                position_ids=places if len(places) > 1 else places[0],
                past_key_values=cache,
                use_cache=True,
            )
            logits = logits_of(out.last_hidden_state[:, -1], self._model.head.weight)[:, : self._model.vocabulary]
            said = logits.argmax(dim=-1).tolist()
            for row, first in enumerate(ranked):
                if step == 0 and first is not None:
                    answers[row].append(int(logits[row, first].argmax()))
                    done[row] = True
                elif not done[row]:
                    answers[row].append(said[row])
                    done[row] = said[row] in self._tokens.ends
            if all(done):
                break
            hidden = text.embed_tokens(torch.tensor(said, device=device)[:, None])
            places = places[:, :, -1:] + 1
        return [
            ask.symbols[answer[0]] if first is not None else decode_answer(self.inputs, self._tokens, answer)
            for ask, first, answer in zip(asks, ranked, answers, strict=True)
        ]

    def _see(self, images: Sequence[Shown]) -> dict[str, torch.Tensor]:
        """The features [positions, width] of images, by key; those of the latest images are kept."""
        new = {shown.key: shown.picture for shown in images if shown.key not in self._features}
        keys = list(new)
        for start in range(0, len(keys), _PICTURES):
            some = keys[start : start + _PICTURES]
            found = self._model.image_features([new[key] for key in some])
            # Copied: a slice would keep the features of all.
            self._features.update({key: one.clone() for key, one in zip(some, found, strict=True)})
        wanted = {shown.key: self._features[shown.key] for shown in images}
        for key in wanted:
            self._features.move_to_end(key)
        size = sum(one.nbytes for one in self._features.values())
        while size > _FEATURE_BYTES and len(self._features) > len(wanted):
            size -= self._features.popitem(last=False)[1].nbytes
        return wanted
