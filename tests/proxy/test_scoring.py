"""Losses and conversation vectors: the reference's, the library's own, and the same in whatever company."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round, parse_conversation
from ards_ray.corpus.images import read_image
from ards_ray.proxy.family import load_inputs, load_model
from ards_ray.proxy.llava import LlavaInputs, LlavaModel
from ards_ray.proxy.scoring import score_sequences
from ards_ray.proxy.sequence import SequenceScore, TokenSequence
from ards_ray.storage import locate

SETTINGS = ProxySettings(dtype="float32", device="cpu")
FAMILIES = ("llama", "mistral", "mistral-window")
LIMIT = 2048
# A byte that no text of the tests holds.
MARK = 20


def rounds_of(record: dict) -> tuple[Round, ...]:
    return parse_conversation(0, "image", record.get("image"), json.dumps(record)).rounds


@dataclass(frozen=True)
class Scorable:
    """A checkpoint with sequences and pixels."""

    folder: Path
    model: LlavaModel
    sequences: list[TokenSequence]
    pixels: np.ndarray

    def score(
        self,
        chosen: Sequence[int] | None = None,
        budget: int = 16_384,
        with_vector: bool = True,
        attention: bool = True,
        model: LlavaModel | None = None,
    ) -> tuple[list[SequenceScore], int]:
        sequences = self.sequences if chosen is None else [self.sequences[index] for index in chosen]
        return score_sequences(
            model or self.model, sequences, self.pixels, [with_vector] * len(sequences), attention, budget
        )


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def scorable(folder: Path, records: list[dict]) -> Scorable:
    inputs: Any = load_inputs(folder)
    pixels = np.stack([inputs.pixels(picture(seed)) for seed in (0, 1)])
    sequences, image = [], 0
    for record in records:
        ids, targets = inputs.encode(rounds_of(record), LIMIT)
        sequences.append(TokenSequence(ids, targets, image if "image" in record else -1))
        image += "image" in record
    return Scorable(folder, LlavaModel(folder, SETTINGS), sequences, pixels)


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request: pytest.FixtureRequest, checkpoints: dict[str, Path], records: list[dict]) -> Scorable:
    return scorable(checkpoints[request.param], records)


@pytest.fixture(scope="module")
def llama(checkpoints: dict[str, Path], records: list[dict]) -> Scorable:
    return scorable(checkpoints["llama"], records)


def assert_alike(found: Sequence[SequenceScore], expected: Sequence[SequenceScore]) -> None:
    for left, right in zip(found, expected, strict=True):
        assert left.error is None
        assert left.loss == pytest.approx(right.loss, rel=1e-5)
        assert left.correct is right.correct
        assert left.vector is not None
        np.testing.assert_allclose(left.vector, right.vector, rtol=0, atol=1e-5)


def plain_score(model: Any, sequence: TokenSequence, pixels: np.ndarray) -> SequenceScore:
    """The definitions, written down with the library's own outputs, one sequence at a time."""
    ids = torch.from_numpy(sequence.ids.astype(np.int64))[None]
    shown = None
    if sequence.image >= 0:
        mean = np.array([0.48145466, 0.4578275, 0.40821073])
        deviation = np.array([0.26862954, 0.26130258, 0.27577711])
        normal = (pixels[sequence.image] / 255 - mean) / deviation
        shown = torch.from_numpy(normal.transpose(2, 0, 1)[None].astype(np.float32))
    with torch.no_grad():
        answer = model(input_ids=ids, pixel_values=shown, output_attentions=True, output_hidden_states=True)
    logits = answer.logits[0, :, : model.config.image_token_index].double().numpy()
    targets = [place for place in range(len(sequence)) if sequence.targets[place]]
    losses, hits = [], []
    for place in targets:
        row, token = logits[place - 1], sequence.ids[place]
        losses.append(np.log(np.exp(row - row.max()).sum()) + row.max() - row[token])
        hits.append(row.argmax() == token)
    hidden = answer.hidden_states[-1][0].double().numpy()
    row = answer.attentions[-1][0].double().numpy().mean(axis=0)[-1]
    earlier = row[:-1] / row[:-1].sum()
    mean_state = sum(weight * state for weight, state in zip(earlier, hidden[:-1], strict=True))
    last = hidden[-1]
    vector = np.concatenate([last / np.linalg.norm(last), mean_state / np.linalg.norm(mean_state)])
    return SequenceScore(float(np.mean(losses)), bool(np.all(hits)), vector)


def test_scores_are_the_references(conformance: Path) -> None:
    """All that is selected rests on these numbers: on the same inputs they are the published implementation's."""
    inputs = load_inputs(conformance / "checkpoint")
    samples = json.loads((conformance / "samples.json").read_text())
    sequences, pixels = [], []
    for sample in samples:
        ids, targets = inputs.encode(rounds_of(sample), LIMIT)
        image = -1
        if "image" in sample:
            image = len(pixels)
            pixels.append(inputs.pixels(read_image(sample["image"], locate(str(conformance)), 10**8)[1]))
        sequences.append(TokenSequence(ids, targets, image))
    model = load_model(conformance / "checkpoint", SETTINGS)
    scores, splits = score_sequences(model, sequences, np.stack(pixels), [True] * len(sequences), True, 16_384)
    reference = json.loads((conformance / "reference.json").read_text())
    assert len(scores) == len(reference) == 63
    assert splits == 0
    losses = [score.loss for score in scores]
    np.testing.assert_allclose(losses, [entry["loss"] for entry in reference], rtol=1e-5)
    vectors = np.stack([score.vector for score in scores if score.vector is not None])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, np.load(conformance / "vectors.npy"), rtol=0, atol=1e-5)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.sqrt(2), abs=1e-5)


def test_scores_are_the_librarys_own(tiny: Scorable) -> None:
    """One row of attention computed by hand, logits at a few places, right padding: none of it may show."""
    eager = LlavaForConditionalGeneration.from_pretrained(tiny.folder, attn_implementation="eager").eval()
    expected = [plain_score(eager, sequence, tiny.pixels) for sequence in tiny.sequences]
    assert_alike(tiny.score()[0], expected)
    assert len({round(score.loss, 3) for score in expected}) == len(expected)


def test_the_attention_window_shows(checkpoints: dict[str, Path], records: list[dict]) -> None:
    """Proof that the check above sees a sliding window: without it Mistral's vectors are others."""
    without = LlavaForConditionalGeneration.from_pretrained(checkpoints["mistral"], attn_implementation="eager").eval()
    tiny = scorable(checkpoints["mistral-window"], records[:1])
    windowed = tiny.score()[0][0].vector
    plain = plain_score(without, tiny.sequences[0], tiny.pixels).vector
    assert windowed is not None
    assert plain is not None
    assert np.abs(windowed - plain).max() > 1e-2


@pytest.mark.parametrize("budget", [1, 400])
def test_batches_do_not_matter(tiny: Scorable, budget: int) -> None:
    """Neighbours and padding must leave a conversation's score alone, or a shard's cut decides about the mixture."""
    assert_alike(tiny.score(budget=budget)[0], tiny.score()[0])


def test_order_and_company_do_not_matter(tiny: Scorable) -> None:
    """Scores come back in the order of the sequences, whatever was computed with what."""
    whole = tiny.score()[0]
    chosen = [4, 0, 3]
    assert_alike(tiny.score(chosen)[0], [whole[index] for index in chosen])
    backwards = list(reversed(range(len(whole))))
    assert_alike(tiny.score(backwards)[0], whole[::-1])


def test_last_token_alone(tiny: Scorable) -> None:
    """The ablation's vector is the first half of the full one."""
    for short, full in zip(tiny.score(attention=False)[0], tiny.score()[0], strict=True):
        assert short.vector is not None
        assert full.vector is not None
        np.testing.assert_allclose(short.vector, full.vector[: len(full.vector) // 2], rtol=0, atol=1e-6)
        assert short.loss == full.loss


def test_vectors_only_where_they_are_wanted(llama: Scorable) -> None:
    """Those of corrupted versions would double the memory of a shard."""
    assert all(score.vector is None for score in llama.score(with_vector=False)[0])
    assert [score.loss for score in llama.score(with_vector=False)[0]] == [score.loss for score in llama.score()[0]]


def test_the_picture_counts(llama: Scorable) -> None:
    """Each conversation sees its own picture and no other's; the noise on it is measured through this alone."""
    first, second = llama.sequences[0], TokenSequence(llama.sequences[0].ids, llama.sequences[0].targets, 1)
    scores, _ = score_sequences(llama.model, [first, second, first], llama.pixels, [True] * 3, True, 16_384)
    assert scores[0].loss == pytest.approx(scores[2].loss, rel=1e-5)
    assert abs(scores[0].loss - scores[1].loss) > 1e-4
    swapped, _ = score_sequences(llama.model, [first], llama.pixels[::-1].copy(), [True], True, 16_384)
    assert swapped[0].loss == pytest.approx(scores[1].loss, rel=1e-5)


def test_correct_means_every_token(llama: Scorable) -> None:
    """Greedy decoding repeats a label exactly when each of its tokens is the arg-max; one miss is a wrong answer."""
    eager = LlavaForConditionalGeneration.from_pretrained(llama.folder, attn_implementation="eager").eval()
    vocabulary = eager.config.image_token_index
    ids = llama.sequences[1].ids[:30].tolist()
    for _ in range(3):
        with torch.no_grad():
            ids.append(int(eager(input_ids=torch.tensor([ids])).logits[0, -1, :vocabulary].argmax()))

    def correct(tokens: list[int]) -> bool:
        targets = np.arange(len(tokens)) >= 30
        sequence = TokenSequence(np.array(tokens, np.int32), targets, -1)
        return score_sequences(llama.model, [sequence], llama.pixels, [True], True, 16_384)[0][0].correct

    assert correct(ids)
    for place in (30, 31, 32):
        assert not correct([*ids[:place], (ids[place] + 1) % vocabulary, *ids[place + 1 :]])


def test_a_cut_inside_the_image(llama: Scorable, records: list[dict]) -> None:
    """A long conversation that shows its image late is cut there, and is still scored on the answers before."""
    inputs: Any = LlavaInputs(llama.folder)
    rounds = rounds_of(records[3])
    ids, targets = inputs.encode(rounds, LIMIT)
    first = int(np.flatnonzero(ids == inputs.config.image_token_index)[0])
    cut = TokenSequence(*inputs.encode(rounds, first + 5), 0)
    before = TokenSequence(*inputs.encode(rounds[:1], LIMIT), -1)
    assert len(cut) == first + 5
    assert (cut.ids == ids[: len(cut)]).all()
    assert (cut.targets == targets[: len(cut)]).all()
    # Beside a sequence that shows its image whole.
    together = [cut, before, llama.sequences[0]]
    scores, _ = score_sequences(llama.model, together, llama.pixels, [True] * 3, True, 16_384)
    assert scores[0].loss == pytest.approx(scores[1].loss, rel=1e-5)
    vector = scores[0].vector
    assert vector is not None
    assert np.linalg.norm(vector) == pytest.approx(np.sqrt(2), abs=1e-5)
    assert_alike([scores[2]], llama.score([0])[0])


class FragileModel(LlavaModel):
    """Cannot compute a batch in which a sequence is marked, as when memory runs out or a kernel fails."""

    def embed(self, ids: torch.Tensor, features: Sequence[torch.Tensor | None]) -> torch.Tensor:
        if (ids == MARK).any():
            raise RuntimeError("marked: out of memory")
        return super().embed(ids, features)


class NotFiniteModel(LlavaModel):
    """Computes no number for a sequence that is marked, as when half precision overflows."""

    def embed(self, ids: torch.Tensor, features: Sequence[torch.Tensor | None]) -> torch.Tensor:
        embeddings = super().embed(ids, features)
        embeddings[(ids == MARK).any(dim=1)] = float("nan")
        return embeddings


@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_sequence_that_cannot_be_computed_is_alone_with_it(llama: Scorable, place: int) -> None:
    """One conversation must not take its shard along, nor hundreds of others down as failed."""
    assert all(MARK not in sequence.ids for sequence in llama.sequences)
    marked = llama.sequences[place]
    ids = marked.ids.copy()
    ids[5] = MARK
    sequences = [*llama.sequences]
    sequences[place] = TokenSequence(ids, marked.targets, marked.image)
    broken = Scorable(llama.folder, FragileModel(llama.folder, SETTINGS), sequences, llama.pixels)
    scores, splits = broken.score()
    expected = llama.score()[0]
    assert splits >= 2
    assert scores[place].error == "scoring failed: RuntimeError: marked: out of memory"
    assert scores[place].vector is None
    assert_alike(scores[:place] + scores[place + 1 :], expected[:place] + expected[place + 1 :])
    infinite = Scorable(llama.folder, NotFiniteModel(llama.folder, SETTINGS), sequences, llama.pixels)
    scores, splits = infinite.score()
    assert splits == 0
    assert scores[place].error == "loss is not finite"
    assert_alike(scores[:place] + scores[place + 1 :], expected[:place] + expected[place + 1 :])


def test_a_batch_that_is_too_large_is_only_split(llama: Scorable) -> None:
    """Out of memory with many is no failure: all are scored in halves."""

    class SmallModel(LlavaModel):
        def embed(self, ids: torch.Tensor, features: Sequence[torch.Tensor | None]) -> torch.Tensor:
            if len(ids) > 2:
                raise torch.OutOfMemoryError("too many")
            return super().embed(ids, features)

    scores, splits = llama.score(model=SmallModel(llama.folder, SETTINGS))
    assert splits > 0
    assert_alike(scores, llama.score()[0])


def test_an_error_of_the_program_is_not_a_failed_conversation(llama: Scorable) -> None:
    """A bug that fails every conversation, one by one, would take hours to find out."""

    class WrongModel(LlavaModel):
        def embed(self, ids: torch.Tensor, features: Sequence[torch.Tensor | None]) -> torch.Tensor:
            raise AttributeError("no such thing")

    with pytest.raises(AttributeError):
        llama.score(model=WrongModel(llama.folder, SETTINGS))


def test_attention_matrices_are_never_asked_for(llama: Scorable) -> None:
    """Those of all layers and positions are what makes the reference slow and fills the GPU."""
    asked: list[dict] = []
    hook = llama.model.text.register_forward_pre_hook(
        lambda module, arguments, named: asked.append(named), with_kwargs=True
    )
    try:
        llama.score()
    finally:
        hook.remove()
    assert asked
    assert not any(named.get("output_attentions") or named.get("output_hidden_states") for named in asked)
    assert not llama.model.text.config.output_attentions
    assert llama.model.text.config._attn_implementation == "sdpa"


def test_nothing_to_score(llama: Scorable) -> None:
    """A shard in which all conversations failed before."""
    assert score_sequences(llama.model, [], np.empty((0, 1, 1, 3), np.uint8), [], True, 16_384) == ([], 0)


def test_half_precision_is_close(checkpoints: dict[str, Path], records: list[dict], llama: Scorable) -> None:
    """What a GPU computes in by default must rank conversations as float32 does."""
    half = LlavaModel(checkpoints["llama"], ProxySettings(dtype="bfloat16", device="cpu"))
    for low, full in zip(llama.score(model=half)[0], llama.score()[0], strict=True):
        assert low.loss == pytest.approx(full.loss, rel=0.02)
        assert low.vector is not None
        assert full.vector is not None
        assert low.vector.dtype == np.float32
        assert low.vector @ full.vector / 2 > 0.98
