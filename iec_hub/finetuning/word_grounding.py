"""Where in an image a caption's words are: the words' attention learns it from captioned images, without boxes.

A word looks for itself in every image of a batch. It shall find something in those whose captions tell it and nothing
in the others, and what it finds shall be more like itself than what it finds elsewhere (after the stacked cross
attention of Lee et al., ECCV 2018). The first alone decides where it looks: a mean over all places would do for the
second. Where an ImageNet head names things place by place, the names shall look there. No emotion label is read.
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

from iec_hub.affect.attributes import ImageAttributes
from iec_hub.affect.captions import compose_caption
from iec_hub.finetuning.trainer import EmotionTrainer, EmotionTrainingArguments, EpochOfData
from iec_hub.finetuning.training_data import ImageSource
from iec_hub.models.escnet import AttributeCaptioner, EscnetForImageEmotion, EscnetProcessor

TEMPERATURE = 0.07
BATCH = 48
# How sure the ImageNet head has to be of a thing at some place.
LEAST_SEEN = 0.3
# Parts of the sentence around what it tells: they are in no picture and charged with nothing.
_FRAME = "a an the and or of in on at by with to this that which may shows show photo picture image shot is are . , '"


def frame_tokens(tokenizer: Any) -> list[int]:
    """Token ids of the words that only hold a caption together, of those that are one token."""
    ids = tokenizer(_FRAME.split(), add_special_tokens=False)["input_ids"]
    return [tokens[0] for tokens in ids if len(tokens) == 1]


@dataclass(frozen=True)
class CaptionedPlaces:
    """An image as places.

    Attributes:
        places: `(views, n, width)`.
        captions: to choose from, each true of every view.
        maps: `(views, n)`, how much of what the caption names is at each place, rows sum to 1; `None` if not known.
    """

    places: torch.Tensor
    captions: Sequence[str]
    maps: torch.Tensor | None = None


@dataclass
class PlacesAndCaptions(Dataset):
    """Captioned images, of which a view and a caption are drawn anew every epoch."""

    items: Sequence[CaptionedPlaces]
    seed: int = 0
    epoch: int = field(default=0, init=False)

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")
        item = self.items[index]
        view = rng.randrange(len(item.places))
        where = torch.zeros(item.places.shape[1]) if item.maps is None else item.maps[view]
        return {"places": item.places[view], "caption": rng.choice(item.captions), "where": where}


def captioned_places(sources: Sequence[ImageSource]) -> list[CaptionedPlaces]:
    """Labelled images with the captioner's captions."""
    return [
        CaptionedPlaces(source.tokens[:, i], list(dict.fromkeys(view[i] for view in source.captions)))
        for source in sources
        if source.captions
        for i in range(len(source.distributions))
    ]


@torch.no_grad()
def named_places(captioner: AttributeCaptioner, images: Sequence[torch.Tensor]) -> list[CaptionedPlaces]:
    """Images in which the captioner's ImageNet head names things, with where it sees them.

    The head reads single places as well as their mean (after class activation mapping, Zhou et al., CVPR 2016).

    Args:
        images: places `(views, n, width)` of the tower's last layer, as wide as the head or wider.
    """
    if not captioner.config.classifier_size:
        return []
    weight, hierarchy = captioner.classifier.weight, captioner.hierarchy
    items = []
    for places in images:
        logits = captioner.classifier(places[..., : captioner.config.classifier_size].to(weight))
        whole = captioner.classifier(places.float().mean(1)[:, : captioner.config.classifier_size].to(weight))
        here, everywhere = logits.float().softmax(-1), whole.float().softmax(-1)
        (tags,) = hierarchy.hedge(everywhere[:1].cpu().numpy(), captioner.config.classifier_guess)
        for tag in tags:
            kinds = torch.from_numpy(hierarchy.members[:, hierarchy.names.index(tag.label)].astype("float32"))
            seen = here.cpu() @ kinds
            if float(seen.max()) >= LEAST_SEEN:
                maps = seen / seen.sum(1, keepdim=True).clamp_min(1e-6)
                items.append(CaptionedPlaces(places, [compose_caption(ImageAttributes(tags=(tag,)))], maps))
    return items


class WordGrounding(nn.Module):
    """The loss of the words' attention; everything but it and the image's projection stays as it is."""

    def __init__(self, model: EscnetForImageEmotion, processor: EscnetProcessor):
        super().__init__()
        self.model = model
        tokenizer = processor.tokenizer
        unsaid = sorted({*frame_tokens(tokenizer), *tokenizer.all_special_ids})
        self.register_buffer("unsaid", torch.tensor(unsaid), persistent=False)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        fusion = model.fusion
        for part in (fusion.image_input, fusion.image_norm, fusion.words_to_image):
            part.requires_grad_(True)

    def forward(
        self,
        places: torch.Tensor,
        caption_ids: torch.Tensor,
        caption_attention_mask: torch.Tensor,
        where: torch.Tensor | None = None,
        **_: Any,
    ) -> dict[str, torch.Tensor]:
        """Places `(batch, n, width)`, captions `(batch, words)` and maps `(batch, n)`, 0 if unknown, to the loss."""
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
        loss = loss - _mean(right.masked_fill(~said, 0.0), said)
        if where is not None:
            own = attention[told_in, torch.arange(len(ids), device=ids.device)].float()
            there = where[told_in]
            loss = loss - _mean((there * own.clamp_min(1e-6).log()).sum(-1), said & (there.sum(-1) > 0))
        return {"loss": loss}


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
        tensors = {name: torch.stack([item[name] for item in items]).float() for name in ("places", "where")}
        return BatchFeature({**tensors, **captions})

    grounding = WordGrounding(model, processor)
    trainer = EmotionTrainer(
        grounding, settings, data_collator=collate, train_dataset=data, callbacks=[EpochOfData(data)]
    )
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


__all__ = [
    "CaptionedPlaces",
    "PlacesAndCaptions",
    "WordGrounding",
    "captioned_places",
    "frame_tokens",
    "ground_words",
    "named_places",
]
