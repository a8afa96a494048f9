"""Where in an image a caption's words are: the words' attention learns it from captioned images, without boxes.

A word looks for itself in every image of a batch. It shall find something in those whose captions tell it and nothing
in the others, and what it finds shall be more like itself than what it finds elsewhere (after the stacked cross
attention of Lee et al., ECCV 2018). The first alone decides where it looks: a mean over all places would do for the
second. No emotion label is read.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the field's name for it
from torch.utils.data import Dataset
from transformers import BatchFeature

from iec_hub.finetuning.trainer import EmotionTrainer, EmotionTrainingArguments, EpochOfData
from iec_hub.finetuning.training_data import ImageSource
from iec_hub.models.escnet import EscnetForImageEmotion, EscnetProcessor

TEMPERATURE = 0.07
BATCH = 48
# Parts of the sentence around what it tells.
_FRAME = "a an the and or of in on at by with to this that which may shows show photo picture image shot is are . , '"


@dataclass
class PlacesAndCaptions(Dataset):
    """Images as places, each with the captions of one of its views, drawn anew every epoch.

    Attributes:
        items: per image its places `(views, n, width)` and, per view or for all of them, captions to choose from.
    """

    items: Sequence[tuple[torch.Tensor, Sequence[str]]]
    seed: int = 0
    epoch: int = field(default=0, init=False)

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")
        places, captions = self.items[index]
        return {"places": places[rng.randrange(len(places))], "caption": rng.choice(captions)}

    @classmethod
    def of(cls, sources: Sequence[ImageSource], told: Sequence[tuple[torch.Tensor, Sequence[str]]], seed: int = 0):
        """Labelled images with the captioner's captions, and `told`, images that people described."""
        items = list(told)
        for source in sources:
            for i in range(len(source.distributions) if source.captions else 0):
                captions = list(dict.fromkeys(view[i] for view in source.captions))
                items.append((source.tokens[:, i], captions))
        return cls(items, seed)


class WordGrounding(nn.Module):
    """The loss of the words' attention; everything but it and the image's projection stays as it is."""

    def __init__(self, model: EscnetForImageEmotion, processor: EscnetProcessor):
        super().__init__()
        self.model = model
        tokenizer = processor.tokenizer
        frame = tokenizer(_FRAME.split(), add_special_tokens=False)["input_ids"]
        unsaid = {token for ids in frame for token in ids} | set(tokenizer.all_special_ids)
        self.register_buffer("unsaid", torch.tensor(sorted(unsaid)), persistent=False)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        fusion = model.fusion
        for part in (fusion.image_input, fusion.image_norm, fusion.words_to_image):
            part.requires_grad_(True)

    def forward(
        self, places: torch.Tensor, caption_ids: torch.Tensor, caption_attention_mask: torch.Tensor, **_: Any
    ) -> dict[str, torch.Tensor]:
        """Places `(batch, n, width)` and captions `(batch, words)` to the loss."""
        fusion = self.model.fusion
        with torch.no_grad():
            hidden = self.model.encode_captions(caption_ids, caption_attention_mask)
            text = fusion.text_norm(fusion.text_input(hidden))
        image = fusion.dropout(fusion.image_norm(fusion.image_input(places)))
        told_in, position = caption_attention_mask.bool().nonzero(as_tuple=True)
        words, ids = text[told_in, position], caption_ids[told_in, position]
        said = ~torch.isin(ids, self.unsaid)
        told = torch.zeros(len(image), self.model.config.text_config.vocab_size, dtype=torch.bool, device=ids.device)
        told[told_in[said], ids[said]] = True
        there = told[:, ids]
        everywhere = torch.ones(image.shape[:2], device=image.device)
        found, attention = fusion.words_to_image(words.expand(len(image), -1, -1), image, everywhere)
        share = attention.sum(-1).float().clamp(1e-6, 1 - 1e-6)
        loss = -(_mean(share.log(), there) + _mean((1 - share).log(), ~there)) / 2
        likeness = F.cosine_similarity(found.float(), words.float(), dim=-1) / TEMPERATURE
        right = likeness.log_softmax(0).masked_fill(~there, float("-inf")).logsumexp(0)
        return {"loss": loss - _mean(right.masked_fill(~said, 0.0), said)}


def _mean(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """The mean of some values; 0 where there are none, as in a batch whose captions tell nothing."""
    return (values * where).sum() / where.sum().clamp_min(1)


def ground_words(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    data: PlacesAndCaptions,
    epochs: float,
    arguments: EmotionTrainingArguments,
    learning_rate: float = 5e-4,
) -> list[dict[str, float]]:
    """Teach a model's words where to look; returns the Trainer's log.

    Args:
        data: captioned images; at least two.
    """
    settings = copy.copy(arguments)
    settings.output_dir = str(Path(arguments.output_dir) / "grounding")
    settings.num_train_epochs, settings.max_steps, settings.learning_rate = epochs, -1, learning_rate
    settings.eval_strategy, settings.save_strategy, settings.load_best_model_at_end = "no", "no", False
    settings.per_device_train_batch_size = min(BATCH, len(data))
    settings.push_to_hub = settings.eval_on_start = False
    # A word has to be told from others: a small rest would be told from too few.
    settings.dataloader_drop_last = True

    def collate(items: Sequence[dict[str, Any]]) -> BatchFeature:
        captions = processor.caption_tensors([item["caption"] for item in items])
        return BatchFeature({"places": torch.stack([item["places"] for item in items]).float(), **captions})

    grounding = WordGrounding(model, processor)
    trainer = EmotionTrainer(
        grounding, settings, data_collator=collate, train_dataset=data, callbacks=[EpochOfData(data)]
    )
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


__all__ = ["PlacesAndCaptions", "WordGrounding", "ground_words"]
