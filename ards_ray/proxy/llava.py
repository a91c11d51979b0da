"""LLaVA-1.5: prompt template v1, one picture of a fixed number of positions, Llama or Mistral as text model."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoTokenizer, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.llama.modeling_llama import rotate_half

from ards_ray.config import ProxySettings
from ards_ray.corpus.conversation import IMAGE_TAG, Round
from ards_ray.errors import ConversationError, SettingsError

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
# Padded to a square, the picture takes 1.2 GB.
LONGEST_SIDE = 20_000
PAD_COLOUR = (122, 116, 104)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
TEXT_MODELS = ("llama", "mistral")


def load_config(folder: Path) -> Any:
    """The checkpoint's configuration.

    Raises:
        SettingsError: it is not one of LLaVA-1.5 with a Llama or Mistral text model.
    """
    try:
        config = LlavaConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        raise SettingsError(f"{folder / 'config.json'}: not a configuration of a known model ({error})") from error
    text: Any = config.text_config
    if text.model_type not in TEXT_MODELS:
        raise SettingsError(
            f"{folder}: unknown text model {text.model_type!r} in LLaVA; known are {', '.join(TEXT_MODELS)}"
        )
    vision: Any = config.vision_config
    if vision.model_type != "clip_vision_model":
        raise SettingsError(f"{folder}: unknown vision tower {vision.model_type!r} in LLaVA; known is CLIP")
    return config


def image_positions(config: Any) -> int:
    """Positions that a picture takes in the sequence."""
    vision: Any = config.vision_config
    patches: int = (vision.image_size // vision.patch_size) ** 2
    return patches + (config.vision_feature_select_strategy == "full")


class LlavaInputs:
    """Tokens, targets and pixels of LLaVA-1.5."""

    def __init__(self, folder: Path):
        self.config = load_config(folder)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise SettingsError(f"{folder}: the tokenizer cannot be loaded ({error})") from error
        if not self.tokenizer.is_fast:
            raise SettingsError(f"{folder}: no tokenizer.json here; save the checkpoint with its fast tokenizer")
        self.hidden_size = self.config.text_config.hidden_size
        self.image_positions = image_positions(self.config)

    def encode(self, rounds: Sequence[Round], limit: int) -> tuple[np.ndarray, np.ndarray]:
        """See `ProxyInputs.encode`. Tokens and targets are those of LLaVA's own preprocessing (`preprocess_v1`)."""
        image_token = self.config.image_token_index
        ids: list[int] = [self.tokenizer.bos_token_id]
        targets = [False]
        start = 0
        text, answers = self._prompt(rounds)
        for index, chunk in enumerate(text.split(IMAGE_TAG)):
            if index:
                ids += [image_token] * self.image_positions
                targets += [False] * self.image_positions
                start += len(IMAGE_TAG)
            encoding = self.tokenizer(chunk, add_special_tokens=False, return_offsets_mapping=True)
            if max(encoding["input_ids"], default=0) >= image_token:
                raise ConversationError("reserved token in the text", "a marker such as <pad>")
            ids += encoding["input_ids"]
            targets += [
                any(first < start + right and start + left < last for first, last in answers)
                for left, right in encoding["offset_mapping"]
            ]
            start += len(chunk)
        if not any(targets[:limit]):
            raise ConversationError("answer cut off", f"{len(ids)} positions, {limit} are kept")
        return np.array(ids[:limit], dtype=np.int32), np.array(targets[:limit], dtype=bool)

    def _prompt(self, rounds: Sequence[Round]) -> tuple[str, list[tuple[int, int]]]:
        """The prompt, and the character range of each answer with the space before it and its end token."""
        text = SYSTEM + " "
        answers = []
        for round in rounds:
            text += f"USER: {round.question} ASSISTANT:"
            start = len(text)
            text += f" {round.answer}{self.tokenizer.eos_token}"
            answers.append((start, len(text)))
        return text, answers

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Pad to a centred square and resize, in Pillow: other backends interpolate differently."""
        side = max(image.size)
        if side > LONGEST_SIDE:
            raise ConversationError("image is too large", f"{image.width} by {image.height}, to be padded to a square")
        square = Image.new("RGB", (side, side), PAD_COLOUR)
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        size = self.config.vision_config.image_size
        return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


class LlavaModel:
    """The weights of LLaVA-1.5."""

    def __init__(self, folder: Path, settings: ProxySettings):
        config = load_config(folder)
        try:
            loaded: Any = LlavaForConditionalGeneration.from_pretrained(
                folder,
                dtype=getattr(torch, settings.dtype),
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise SettingsError(f"{folder}: the weights cannot be loaded ({error})") from error
        model, report = loaded
        missing = sorted(report["missing_keys"])
        if missing:
            # The library puts random numbers in their place.
            raise SettingsError(f"{folder}: the checkpoint has no weights for {', '.join(missing[:3])}")
        if settings.adapter is not None:
            model = merge_adapter(model, settings.adapter)
        self.model = model.eval().to(settings.device)
        self.text = self.model.model.language_model
        self.head = self.model.lm_head
        self.hidden_size = config.text_config.hidden_size
        self.image_positions = image_positions(config)
        # Converted checkpoints carry random rows from the image token on; they are no part of the softmax.
        self.vocabulary = config.image_token_index
        self._image_token = config.image_token_index
        device, dtype = self.head.weight.device, self.head.weight.dtype
        self._mean = torch.tensor(CLIP_MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(CLIP_STD, device=device).view(1, 3, 1, 1)
        self._dtype = dtype

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `ProxyModel.image_features`."""
        scaled = pixels.to(self.head.weight.device).permute(0, 3, 1, 2).float() / 255
        features = self.model.get_image_features(pixel_values=((scaled - self._mean) / self._std).to(self._dtype))
        return torch.stack(list(features.pooler_output))

    def embed(self, ids: torch.Tensor, features: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """See `ProxyModel.embed`."""
        shown = ids == self._image_token
        embeddings = self.text.embed_tokens(ids.masked_fill(shown, 0))
        # A sequence that was cut inside its image shows only the first of the image's positions.
        counts = shown.sum(dim=1).tolist()
        parts = [feature[:count] for feature, count in zip(features, counts, strict=True) if feature is not None]
        if parts:
            embeddings[shown] = torch.cat(parts).to(embeddings.dtype)
        return embeddings

    def last_layer(self, embeddings: torch.Tensor, last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `ProxyModel.last_layer`. Padding on the right needs no mask: a causal model never looks at it."""
        attention = self.text.layers[-1].self_attn
        seen: dict = {}
        hook = attention.register_forward_pre_hook(lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True)
        try:
            hidden = self.text(inputs_embeds=embeddings, use_cache=False).last_hidden_state
        finally:
            hook.remove()
        row = attention_row(attention, seen["hidden_states"], seen["position_embeddings"], last)
        return hidden, row


def merge_adapter(model: Any, adapter: str) -> Any:
    """Merge a PEFT adapter into the weights.

    Raises:
        SettingsError: the adapter cannot be loaded or does not fit the model.
    """
    from peft import PeftModel

    if not (Path(adapter) / "adapter_model.safetensors").is_file():
        raise SettingsError(f"{adapter}: no adapter_model.safetensors here; proxy.adapter must be a PEFT adapter")
    try:
        with warnings.catch_warnings():
            # Weights under other names would be left out with a warning, and the model scored without them.
            warnings.filterwarnings("error", "Found missing adapter keys", UserWarning)
            return PeftModel.from_pretrained(model, adapter).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, UserWarning) as error:
        raise SettingsError(f"{adapter}: the adapter does not fit the model ({error})") from error


def attention_row(
    attention: Any,
    hidden: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    last: torch.Tensor,
) -> torch.Tensor:
    """One row of a Llama or Mistral attention layer: how the last position looks at all others.

    Args:
        attention: The layer's attention module.
        hidden: [batch, positions, width], what goes into it.
        rotary: Cosines and sines [1 or batch, positions, head width].
        last: int64 [batch], each sequence's last position.

    Returns:
        float32 [batch, positions], averaged over heads, zero after the last position.
    """
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
    hidden_from = place > last.unsqueeze(1)
    # Mistral has it in its configuration alone; Llama pays no regard to it, even if it is there.
    window = attention.config.sliding_window if attention.config.model_type == "mistral" else None
    if window is not None:
        hidden_from |= place <= (last - window).unsqueeze(1)
    scores = scores.masked_fill(hidden_from[:, None, None], float("-inf"))
    return scores.softmax(dim=-1).mean(dim=(1, 2))
