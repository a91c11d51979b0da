"""Losses and conversation vectors: the reference's, the library's own, and the same in whatever company."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from varlen import kernel

from ards_ray.benchmark.conversations import synthetic_conversations, synthetic_pictures
from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import Round, parse_conversation
from ards_ray.corpus.images import decode_image
from ards_ray.models.family import load_inputs, load_model
from ards_ray.models.llava import LlavaInputs, LlavaModel
from ards_ray.models.scoring import Scored, score_sequences
from ards_ray.models.sequence import Picture, SequenceScore, TokenSequence

SETTINGS = ProxySettings(dtype="float32", device="cpu")
FAMILIES = ("llama", "mistral", "mistral-window")
LIMIT = 2048
# A byte that no text of the tests holds.
MARK = 20


def rounds_of(record: dict) -> tuple[Round, ...]:
    return parse_conversation(0, "image", (), json.dumps(record)).rounds


@dataclass(frozen=True)
class Scorable:
    """A checkpoint with sequences and pixels."""

    folder: Path
    model: LlavaModel
    sequences: list[TokenSequence]
    pictures: list[Picture]

    def score(
        self,
        chosen: Sequence[int] | None = None,
        budget: int = 16_384,
        with_vector: bool = True,
        attention: bool = True,
        model: LlavaModel | None = None,
    ) -> Scored:
        sequences = self.sequences if chosen is None else [self.sequences[index] for index in chosen]
        return score_sequences(
            model or self.model, sequences, self.pictures, [with_vector] * len(sequences), attention, budget
        )


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def scorable(folder: Path, records: list[dict]) -> Scorable:
    inputs: Any = load_inputs(folder)
    pictures = [inputs.picture(picture(seed)) for seed in (0, 1)]
    sequences, image = [], 0
    for record in records:
        shown = "image" in record
        ids, targets = inputs.encode(rounds_of(record), pictures[image] if shown else None, LIMIT)
        sequences.append(TokenSequence(ids, targets, image if shown else -1))
        image += shown
    return Scorable(folder, LlavaModel(folder, SETTINGS), sequences, pictures)


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


def plain_score(model: Any, sequence: TokenSequence, pictures: Sequence[Picture]) -> SequenceScore:
    """The definitions, written down with the library's own outputs, one sequence at a time."""
    ids = torch.from_numpy(sequence.ids.astype(np.int64))[None]
    shown = None
    if sequence.image >= 0:
        mean = np.array([0.48145466, 0.4578275, 0.40821073])
        deviation = np.array([0.26862954, 0.26130258, 0.27577711])
        normal = (pictures[sequence.image].pixels[0] / 255 - mean) / deviation
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
    sequences, pictures = [], []
    for sample in samples:
        image = -1
        if "image" in sample:
            image = len(pictures)
            content = (conformance / sample["image"]).read_bytes()
            pictures.append(inputs.picture(decode_image(content, 10**8)))
        ids, targets = inputs.encode(rounds_of(sample), pictures[image] if image >= 0 else None, LIMIT)
        sequences.append(TokenSequence(ids, targets, image))
    model = load_model(conformance / "checkpoint", SETTINGS)
    scored = score_sequences(model, sequences, pictures, [True] * len(sequences), True, 16_384)
    scores = scored.scores
    reference = json.loads((conformance / "reference.json").read_text())
    assert len(scores) == len(reference) == 63
    assert scored.splits == 0
    losses = [score.loss for score in scores]
    np.testing.assert_allclose(losses, [entry["loss"] for entry in reference], rtol=1e-5)
    vectors = np.stack([score.vector for score in scores if score.vector is not None])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, np.load(conformance / "vectors.npy"), rtol=0, atol=1e-5)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.sqrt(2), abs=1e-5)


def test_scores_are_the_librarys_own(tiny: Scorable) -> None:
    """One row of attention computed by hand, logits at a few places, shared beginnings: none of it may show."""
    eager = LlavaForConditionalGeneration.from_pretrained(tiny.folder, attn_implementation="eager").eval()
    expected = [plain_score(eager, sequence, tiny.pictures) for sequence in tiny.sequences]
    assert_alike(tiny.score().scores, expected)
    assert len({round(score.loss, 3) for score in expected}) == len(expected)


def test_the_attention_window_shows(checkpoints: dict[str, Path], records: list[dict]) -> None:
    """Proof that the check above sees a sliding window: without it Mistral's vectors are others."""
    without = LlavaForConditionalGeneration.from_pretrained(checkpoints["mistral"], attn_implementation="eager").eval()
    tiny = scorable(checkpoints["mistral-window"], records[:1])
    windowed = tiny.score().scores[0].vector
    plain = plain_score(without, tiny.sequences[0], tiny.pictures).vector
    assert windowed is not None
    assert plain is not None
    assert np.abs(windowed - plain).max() > 1e-2


@pytest.mark.parametrize("budget", [1, 400])
def test_batches_do_not_matter(tiny: Scorable, budget: int) -> None:
    """Neighbours must leave a conversation's score alone, or a shard's cut decides about the mixture."""
    assert_alike(tiny.score(budget=budget).scores, tiny.score().scores)


def test_order_and_company_do_not_matter(tiny: Scorable) -> None:
    """Scores come back in the order of the sequences, whatever was computed with what."""
    whole = tiny.score().scores
    chosen = [4, 0, 3]
    assert_alike(tiny.score(chosen).scores, [whole[index] for index in chosen])
    backwards = list(reversed(range(len(whole))))
    assert_alike(tiny.score(backwards).scores, whole[::-1])


def test_last_token_alone(tiny: Scorable) -> None:
    """The ablation's vector is the first half of the full one."""
    for short, full in zip(tiny.score(attention=False).scores, tiny.score().scores, strict=True):
        assert short.vector is not None
        assert full.vector is not None
        np.testing.assert_allclose(short.vector, full.vector[: len(full.vector) // 2], rtol=0, atol=1e-5)
        assert short.loss == full.loss


def test_vectors_only_where_they_are_wanted(llama: Scorable) -> None:
    """Those of corrupted versions would double the memory of a shard."""
    assert all(score.vector is None for score in llama.score(with_vector=False).scores)
    assert [score.loss for score in llama.score(with_vector=False).scores] == [
        score.loss for score in llama.score().scores
    ]


def test_the_picture_counts(llama: Scorable) -> None:
    """Each conversation sees its own picture and no other's; the noise on it is measured through this alone."""
    first, second = llama.sequences[0], TokenSequence(llama.sequences[0].ids, llama.sequences[0].targets, 1)
    scores = score_sequences(llama.model, [first, second, first], llama.pictures, [True] * 3, True, 16_384).scores
    assert scores[0].loss == pytest.approx(scores[2].loss, rel=1e-5)
    assert abs(scores[0].loss - scores[1].loss) > 1e-4
    swapped = score_sequences(llama.model, [first], llama.pictures[::-1], [True], True, 16_384).scores
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
        return score_sequences(llama.model, [sequence], llama.pictures, [True], True, 16_384).scores[0].correct

    assert correct(ids)
    for place in (30, 31, 32):
        assert not correct([*ids[:place], (ids[place] + 1) % vocabulary, *ids[place + 1 :]])


def test_a_cut_inside_the_image(llama: Scorable, records: list[dict]) -> None:
    """A long conversation that shows its image late is cut there, and is still scored on the answers before."""
    inputs: Any = LlavaInputs(llama.folder)
    rounds = rounds_of(records[3])
    shown = llama.pictures[0]
    ids, targets = inputs.encode(rounds, shown, LIMIT)
    first = int(np.flatnonzero(ids == inputs.config.image_token_index)[0])
    cut = TokenSequence(*inputs.encode(rounds, shown, first + 5), 0)
    before = TokenSequence(*inputs.encode(rounds[:1], None, LIMIT), -1)
    assert len(cut) == first + 5
    assert (cut.ids == ids[: len(cut)]).all()
    assert (cut.targets == targets[: len(cut)]).all()
    # Beside a sequence that shows its image whole.
    together = [cut, before, llama.sequences[0]]
    scores = score_sequences(llama.model, together, llama.pictures, [True] * 3, True, 16_384).scores
    assert scores[0].loss == pytest.approx(scores[1].loss, rel=1e-5)
    vector = scores[0].vector
    assert vector is not None
    assert np.linalg.norm(vector) == pytest.approx(np.sqrt(2), abs=1e-5)
    assert_alike([scores[2]], llama.score([0]).scores)


class FragileModel(LlavaModel):
    """Cannot compute a batch in which a sequence is marked, as when memory runs out or a kernel fails."""

    def __init__(self, folder: Path):
        super().__init__(folder, SETTINGS)
        self.text.embed_tokens.register_forward_pre_hook(self._look)

    def _look(self, module: Any, arguments: tuple[torch.Tensor]) -> None:
        if (arguments[0] == MARK).any():
            raise RuntimeError("marked: out of memory")


class NotFiniteModel(LlavaModel):
    """Computes no number for a sequence that is marked, as when half precision overflows."""

    def __init__(self, folder: Path):
        super().__init__(folder, SETTINGS)
        self.text.embed_tokens.register_forward_hook(self._spoil)

    def _spoil(self, module: Any, arguments: tuple[torch.Tensor], embeddings: torch.Tensor) -> None:
        embeddings[arguments[0] == MARK] = float("nan")


@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_sequence_that_cannot_be_computed_is_alone_with_it(llama: Scorable, place: int) -> None:
    """One conversation must not take its shard along, nor hundreds of others down as failed."""
    assert all(MARK not in sequence.ids for sequence in llama.sequences)
    marked = llama.sequences[place]
    ids = marked.ids.copy()
    ids[5] = MARK
    sequences = [*llama.sequences]
    sequences[place] = TokenSequence(ids, marked.targets, marked.image)
    broken = Scorable(llama.folder, FragileModel(llama.folder), sequences, llama.pictures)
    scored = broken.score()
    scores, splits = scored.scores, scored.splits
    expected = llama.score().scores
    assert splits >= 2
    assert scores[place].error == "scoring failed: RuntimeError: marked: out of memory"
    assert scores[place].vector is None
    assert_alike(scores[:place] + scores[place + 1 :], expected[:place] + expected[place + 1 :])
    infinite = Scorable(llama.folder, NotFiniteModel(llama.folder), sequences, llama.pictures)
    scores = infinite.score().scores
    assert scores[place].error == "loss is not finite"
    assert_alike(scores[:place] + scores[place + 1 :], expected[:place] + expected[place + 1 :])


class SmallModel(LlavaModel):
    """Has memory for some positions only."""

    def __init__(self, folder: Path, positions: int, error: Exception):
        super().__init__(folder, SETTINGS)
        self._error = error
        self.positions_at_once: list[int] = []
        self._most = positions
        self.text.embed_tokens.register_forward_pre_hook(self._look)

    def _look(self, module: Any, arguments: tuple[torch.Tensor]) -> None:
        if len(arguments[0]) > self._most:
            raise self._error
        self.positions_at_once.append(len(arguments[0]))


OUT_OF_MEMORY = (
    torch.OutOfMemoryError("too many"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["class", "processor", "library"])
def test_a_batch_that_is_too_large_is_computed_in_smaller_ones(llama: Scorable, error: Exception) -> None:
    """Out of memory with many is no failure: all are scored, none twice, with half the budget as often as it takes."""
    longest = max(map(len, llama.sequences))
    small = SmallModel(llama.folder, longest, error)
    scored = llama.score(model=small)
    assert scored.splits > 0
    assert_alike(scored.scores, llama.score().scores)
    assert scored.positions == sum(small.positions_at_once)
    assert all(score.error is None for score in scored.scores)


def test_an_error_of_the_program_is_not_a_failed_conversation(llama: Scorable) -> None:
    """A bug that fails every conversation, one by one, would take hours to find out."""

    class WrongModel(LlavaModel):
        def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            raise AttributeError("no such thing")

    with pytest.raises(AttributeError):
        llama.score(model=WrongModel(llama.folder, SETTINGS))


def test_an_error_that_all_have_is_not_theirs(llama: Scorable) -> None:
    """Were it, a wrong driver would make a failed row of each of 665,298 conversations, one by one."""

    class BrokenModel(LlavaModel):
        def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            raise RuntimeError("no kernel image is available for execution on the device")

    broken = BrokenModel(llama.folder, SETTINGS)
    assert all(score.error is not None for score in llama.score(model=broken).scores)
    with pytest.raises(RuntimeError, match="no kernel image"):
        llama.score([*range(len(llama.sequences))] * 3, model=broken)


def test_a_picture_is_seen_once(llama: Scorable) -> None:
    """Also where more conversations are about it than fit a batch: the vision tower is no small part."""
    first = llama.sequences[0]
    sequences = []
    for token in range(30, 38):
        ids = first.ids.copy()
        ids[-3] = token
        sequences.append(TokenSequence(ids, first.targets, token % 2))
    seen: list[int] = []
    hook = llama.model.tower._tower.register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    try:
        scored = score_sequences(llama.model, sequences, llama.pictures, [True] * 8, True, len(first) + 2)
    finally:
        hook.remove()
    assert scored.positions > 3 * len(first)
    assert sum(seen) == 2


def test_the_variable_length_kernel_gives_the_same(tiny: Scorable, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU all attention goes that way; a stand-in that does what the kernel's documentation says is used here."""
    expected = tiny.score().scores
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    monkeypatch.setattr(tiny.model, "varlen", True)
    assert_alike(tiny.score().scores, expected)


def test_what_sequences_share_is_computed_once(llama: Scorable) -> None:
    """The time that is promised rests on it: of conversations about one picture only their own texts are computed."""
    first, second = llama.sequences[0], llama.sequences[3]
    other = TokenSequence(np.append(first.ids[:-3], first.ids[-9:-3]), np.append(first.targets[:-3], [True] * 6), 0)
    noised = TokenSequence(first.ids, first.targets, 1)
    sequences = [first, second, other, noised, first]
    rows: dict[str, int] = {"first": 0, "last": 0}

    def count(name: str) -> Callable[..., None]:
        def hook(module: Any, arguments: tuple[torch.Tensor]) -> None:
            rows[name] += len(arguments[0])

        return hook

    layers = llama.model.text.layers
    hooks = [
        layers[place].mlp.up_proj.register_forward_pre_hook(count(name)) for place, name in ((0, "first"), (-1, "last"))
    ]
    try:
        scored = score_sequences(llama.model, sequences, llama.pictures, [False] * 5, True, 16_384)
    finally:
        for hook in hooks:
            hook.remove()
    image = llama.model.image_token
    beginnings, needed = set(), set()
    for item in sequences:
        keys = [(int(token), item.image if token == image else -1) for token in item.ids]
        paths = [tuple(keys[: end + 1]) for end in range(len(keys))]
        beginnings.update(paths)
        needed.update(paths[place - 1] for place in range(len(keys)) if item.targets[place])
        needed.add(paths[-1])
    assert scored.positions == rows["first"] == len(beginnings)
    assert rows["last"] == len(needed)
    assert scored.scores[0] == scored.scores[4]


def test_nothing_to_score(llama: Scorable) -> None:
    """A shard in which all conversations failed before."""
    assert score_sequences(llama.model, [], [], [], True, 16_384) == Scored([], 0, 0)


def test_half_precision_is_close(checkpoints: dict[str, Path], records: list[dict], llama: Scorable) -> None:
    """What a GPU computes in by default must rank conversations as float32 does."""
    half = LlavaModel(checkpoints["llama"], ProxySettings(dtype="bfloat16", device="cpu"))
    for low, full in zip(llama.score(model=half).scores, llama.score().scores, strict=True):
        assert low.loss == pytest.approx(full.loss, rel=0.02)
        assert low.vector is not None
        assert full.vector is not None
        assert low.vector.dtype == np.float32
        assert low.vector @ full.vector / 2 > 0.98


def test_half_precision_ranks_loss_gaps(tmp_path: Path) -> None:
    """Members are those with the largest gaps between two losses: a small difference of large numbers, through a deep
    model."""
    text = LlamaConfig(
        hidden_size=64,
        intermediate_size=172,
        num_hidden_layers=12,
        num_attention_heads=4,
        vocab_size=1088,
        initializer_range=0.12,
    )
    vision = CLIPVisionConfig(
        image_size=56, patch_size=14, hidden_size=64, intermediate_size=128, num_hidden_layers=6, num_attention_heads=4
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=1024)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        LlavaForConditionalGeneration(config).save_pretrained(tmp_path)
    pairs = [pair for pair in synthetic_conversations(120, 1024, 1024, 16) if pair.corrupted is not None]
    sequences = [version for pair in pairs for version in (pair.clean, pair.corrupted) if version is not None]
    pictures = synthetic_pictures(pairs, 56)
    gaps = []
    for dtype in ("float32", "bfloat16"):
        model = LlavaModel(tmp_path, ProxySettings(dtype=dtype, device="cpu"))
        scores = score_sequences(model, sequences, pictures, [False] * len(sequences), True, 16_384).scores
        losses = np.array([score.loss for score in scores])
        gaps.append(np.abs(losses[0::2] - losses[1::2]))
    ranks = [np.argsort(np.argsort(gap)) for gap in gaps]
    assert len(np.unique(gaps[0])) == len(gaps[0])
    assert np.corrcoef(*ranks)[0, 1] >= 0.99
    members = [set(np.argsort(-gap)[:30].tolist()) for gap in gaps]
    assert len(members[0] & members[1]) >= 27
