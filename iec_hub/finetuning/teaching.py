"""Teaching by text: what descriptions evoke, and where images lie among descriptions.

1. Texts with emotions train the language part with their sentence embedding in place of an image.
2. Images are placed in the same embedding space: a ridge regression on image-text pairs, on top of the names of what a
   classifier sees where there is one, is distilled into the model's small map.

Then the model already knows, before it has seen one labelled image, what an image of "abandoned hospital" evokes.
Training a reader on text alone and lending it to images is known from captioning (Nukrai et al., CapDec, 2022; Li et
al., DeCap, 2023); this form of it is ours.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional as F  # noqa: N812  the field's name for it
from tqdm.auto import tqdm
from transformers import AutoModel, AutoTokenizer

from iec_hub.data import label_index
from iec_hub.emotions import EmotionModel
from iec_hub.errors import CheckpointError, DataError
from iec_hub.finetuning.training_data import TextSource
from iec_hub.models.ugrie import UgrieForImageEmotion

logger = logging.getLogger(__name__)

RIDGES = (3e3, 1e4, 3e4, 1e5, 3e5)
LEXICON_SHARE = 0.7
# How byte-level and sentence-piece vocabularies mark a piece that begins a word.
_WORD_BEGINS = ("\u0120", "\u2581")
_NOT_TEXT = {"id", "emotion", "label", "split", "file_name"}


class SentenceEncoder:
    """Mean-pooled, normalised sentence embeddings of any encoder of transformers."""

    def __init__(self, name: str | Path):
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name)
            self.model = AutoModel.from_pretrained(name, dtype=torch.float32, use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise CheckpointError(
                f"The sentence encoder {str(name)!r} could not be loaded; check its id or folder ({reason})."
            ) from error

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch_size: int = 128) -> torch.Tensor:
        """Texts to unit vectors `(texts, width)`; an empty text gives zeros."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = torch.zeros(len(texts), self.model.config.hidden_size)
        for start in tqdm(range(0, len(order), batch_size), desc="sentence embeddings", unit="batch"):
            rows = order[start : start + batch_size]
            inputs = self.tokenizer([texts[i] for i in rows], padding=True, truncation=True, return_tensors="pt")
            hidden = self.model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][..., None].to(hidden)
            vectors[rows] = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
        vectors[[i for i, text in enumerate(texts) if not text.strip()]] = 0
        return vectors


def read_emotion_texts(path: Path, emotion_model: EmotionModel) -> tuple[list[list[str]], torch.Tensor]:
    """Texts and their emotions from a CSV file with an `emotion` column; every other column is a version of the text.

    Returns:
        One list of texts per version, and the distributions `(texts, labels)`.

    Raises:
        DataError: if there is no `emotion` column, no text, or no usable row. Broken rows are counted in the log.
    """
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read as a CSV file in UTF-8; check or convert it.") from error
    if not content.strip():
        raise DataError(f"{path.name} is empty; it needs a column 'emotion' and one with text.")
    with io.StringIO(content, newline="") as file:
        reader = csv.DictReader(file)
        columns = [name for name in reader.fieldnames or [] if name not in _NOT_TEXT]
        if "emotion" not in (reader.fieldnames or []) or not columns:
            raise DataError(f"{path.name} needs a column 'emotion' and one with text; it has {reader.fieldnames}.")
        rows, distributions, skipped = [], [], Counter()
        for row in reader:
            try:
                distribution = torch.zeros(len(emotion_model))
                distribution[label_index(row["emotion"], emotion_model)] = 1.0
            except DataError as error:
                skipped[str(error)] += 1
                continue
            if any((row[name] or "").strip() for name in columns):
                rows.append([(row[name] or "").strip() for name in columns])
                distributions.append(distribution)
            else:
                skipped["no text"] += 1
    for reason, number in skipped.items():
        logger.warning("%s: %d rows skipped: %s", path.name, number, reason)
    if not rows:
        raise DataError(
            f"{path.name} has no row with a text and an emotion of {emotion_model.name}; check its labels."
        )
    return [list(version) for version in zip(*rows, strict=True)], torch.stack(distributions)


def text_source(path: Path, emotion_model: EmotionModel, encoder: SentenceEncoder) -> TextSource:
    """Emotion texts as a training source; a text's missing version is replaced by one that it has."""
    versions, distributions = read_emotion_texts(path, emotion_model)
    embeddings = torch.stack([encoder.encode(version) for version in versions], dim=1)
    missing = embeddings.abs().sum(-1) == 0
    first = embeddings[torch.arange(len(embeddings)), (~missing).float().argmax(1)]
    embeddings[missing] = first[:, None].expand_as(embeddings)[missing]
    return TextSource(emotion_model, embeddings, distributions)


def word_source(tokenizer: object, encoder: SentenceEncoder) -> TextSource:
    """Every whole word of the vocabulary naming itself, so that labels never trained are understood as well."""
    words = whole_words(tokenizer.get_vocab())
    return TextSource(None, encoder.encode(words)[:, None], words=words, noise=0.03)


def whole_words(vocabulary: Collection[str]) -> list[str]:
    """English words of at least three letters in a vocabulary, in lower case, once each."""
    if any(piece.startswith(_WORD_BEGINS) for piece in vocabulary):  # then pieces without the mark are parts of words
        vocabulary = [piece[1:] for piece in vocabulary if piece.startswith(_WORD_BEGINS)]
    return sorted({word.lower() for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2})


class Lexicon:
    """What a classifier sees, in words: the probability-weighted embedding of its ten most probable class names."""

    def __init__(self, folder: Path, encoder: SentenceEncoder, top: int = 10):
        tensors = load_file(folder / "lexicon.safetensors")
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
        self.weight, self.bias, self.top = tensors["weight"].float(), tensors["bias"].float(), top
        self.embeddings = encoder.encode([name.split(",")[0] for name in names])

    def __call__(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features `(n, width)`, the classifier's input first, to unit vectors `(n, semantic size)`."""
        probabilities = (pooled[:, : self.weight.shape[1]] @ self.weight.T + self.bias).softmax(-1)
        values, classes = probabilities.topk(self.top, dim=-1)
        return F.normalize((values[..., None] * self.embeddings[classes]).sum(1), dim=-1)


def fit_alignment(
    normed: torch.Tensor, pooled: torch.Tensor, texts: torch.Tensor, lexicon: Lexicon | None
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Ridge regression from images to their texts' embeddings, beside what the lexicon already says.

    Args:
        normed: `(pairs, width)`, what the semantic map reads; `pooled`: the same before the norm.
        texts: `(pairs, semantic size)`.

    Returns:
        Weight `(width, semantic size)`, bias, and the ridge with the best cosine on a held-out fifth.
    """
    target = texts if lexicon is None else texts - LEXICON_SHARE * lexicon(pooled)
    # Rows with the same text are views of one image; all of them are held out, or none.
    held_out = torch.unique(texts, dim=0, return_inverse=True)[1] % 5 == 0

    def solve(rows: torch.Tensor, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
        mean, target_mean = normed[rows].mean(0), target[rows].mean(0)
        centred = normed[rows] - mean
        gram = centred.T @ centred + ridge * torch.eye(normed.shape[1])
        weight = torch.linalg.solve(gram, centred.T @ (target[rows] - target_mean))
        return weight, target_mean - mean @ weight

    def cosine(ridge: float) -> float:
        weight, bias = solve(~held_out, ridge)
        guess = place_images(normed[held_out], pooled[held_out], weight, bias, lexicon)
        return float(F.cosine_similarity(guess, texts[held_out]).mean())

    best = max(RIDGES, key=cosine)
    return *solve(torch.ones(len(normed), dtype=torch.bool), best), best


def place_images(
    normed: torch.Tensor, pooled: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, lexicon: Lexicon | None
) -> torch.Tensor:
    """Unit vectors `(n, semantic size)` of images by the fitted regression and the lexicon."""
    place = normed @ weight + bias
    return F.normalize(place if lexicon is None else place + LEXICON_SHARE * lexicon(pooled), dim=-1)


def distil_alignment(
    model: UgrieForImageEmotion, pooled: torch.Tensor, places: torch.Tensor, steps: int = 600, seed: int = 0
) -> float:
    """Train the model's own map from images `(n, width)` to their places; returns the final mean cosine."""
    generator = torch.Generator().manual_seed(seed)
    mapping = model.semantic_mapping
    parameters = [*mapping.input.parameters(), *mapping.hidden.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    mapping.train()
    cosine = 0.0
    for _ in tqdm(range(steps), desc="alignment", unit="step"):
        rows = torch.randint(len(pooled), (256,), generator=generator)
        embedding = mapping.embed(model.feature_norm(pooled[rows]))
        loss = 1 - (embedding * places[rows]).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        cosine = 1 - loss.item()
    mapping.eval()
    return cosine
