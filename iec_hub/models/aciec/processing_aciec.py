"""Images and texts to tensors, for ACIEC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, ProcessorMixin

from iec_hub.affect.attributes import brightness, colorfulness
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.models.aciec.configuration_aciec import AciecConfig
from iec_hub.models.aciec.text_aciec import TextParts
from iec_hub.models.configuration_image_emotion import ClassifierConfig
from iec_hub.models.processing_image_emotion import classifier_targets, image_tensors

# The concepts and the text in the image have at least this share of the text; what they leave, the sentences get.
_SHARE = 3
Span = tuple[int, int, int]


class AciecProcessor(ProcessorMixin):
    r"""
    Image processor and the text classifier's tokenizer in one.

    Args:
        image_processor: any image processor of transformers.
        tokenizer: the text classifier's; a fast one, whose offsets tell words apart.
        emotion_models (`list[dict]`, *optional*): as in [`AciecConfig`]; [`~AciecProcessor.adopt`] takes them over.
        text_length (`int`, *optional*, defaults to 128): tokens of a text that are read.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        emotion_models: Sequence[Mapping[str, Any]] | None = None,
        text_length: int = 128,
        **kwargs: Any,
    ):
        super().__init__(image_processor, tokenizer, **kwargs)
        self.text_length = text_length
        # Not an AciecConfig, which would hold a vocabulary that nobody asks for.
        self._settings = ClassifierConfig(emotion_models=emotion_models)
        self.emotion_models = self._settings.emotion_models

    def adopt(self, config: AciecConfig) -> AciecProcessor:
        """Take the emotion models and the text's length from a model's configuration, which is their owner."""
        self._settings, self.emotion_models = config, config.emotion_models
        self.text_length = config.text_length
        most = getattr(config.text_config, "max_position_embeddings", None)
        if most:  # RoBERTa's positions begin after the padding id
            self.text_length = min(self.text_length, most - 2)
        return self

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().to_dict().items() if name != "_settings"}

    def __call__(
        self,
        images: Any = None,
        emotion_models: str | EmotionModel | Sequence[str | EmotionModel] | None = None,
        texts: Sequence[TextParts] | None = None,
        distributions: Sequence[np.ndarray] | None = None,
        batch_size: int | None = None,
        return_tensors: str = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        r"""
        Args:
            images: one RGB image or a list of them; left out where texts are given.
            emotion_models: one for all items, or one per item, each trained; the default one if left out.
            texts: per item its [`TextParts`]; left out, [`~AciecForImageEmotion.gather`] writes them.
            distributions: per item, its label distribution `(n,)` in its emotion model's order.
            batch_size: number of items, needed only without images, texts and several emotion models.
            return_tensors: `"pt"`, the only kind there is.
            kwargs: further arguments of the image processor; it refuses those that it does not know.

        Returns:
            `pixel_values` and what [`AciecForImageEmotion.forward`] describes; `labels` `(batch, candidates)` where
            distributions were given; `images`, their `brightness` and `colorfulness` and `emotion_models`, lists.

        Raises:
            DataError: if lengths do not agree or an emotion model was not trained.
        """
        images, data = image_tensors(self.image_processor, images, return_tensors, kwargs)
        if images is not None:
            data["images"] = images
            data["brightness"] = [brightness(image) for image in images]
            data["colorfulness"] = [colorfulness(image) for image in images]
            batch_size = len(images)
        if texts is not None:
            if batch_size not in (None, len(texts)):
                raise DataError(f"{batch_size} images came with {len(texts)} texts; give one each.")
            batch_size = len(texts)
            data |= self.text_tensors(texts)
        return BatchFeature(data | classifier_targets(self._settings, emotion_models, batch_size, distributions))

    def text_tensors(self, texts: Sequence[TextParts]) -> BatchFeature:
        """`input_ids` and `attention_mask` `(batch, tokens)` of texts, padded on the right."""
        return self._padded([self.lay_out(parts)[0] for parts in texts])

    def name_tensors(self, names: Sequence[str]) -> BatchFeature:
        """`input_ids` and `attention_mask` `(names, tokens)` of names without any marks, padded on the right."""
        return self._padded([[token for token, _ in self._tokens(name)] for name in names])

    def _padded(self, rows: Sequence[list[int]]) -> BatchFeature:
        longest = max(map(len, rows), default=1)
        padding = self.tokenizer.pad_token_id
        ids = torch.tensor([row + [padding or 0] * (longest - len(row)) for row in rows], dtype=torch.long)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], dtype=torch.long)
        return BatchFeature({"input_ids": ids, "attention_mask": mask})

    def lay_out(self, parts: TextParts) -> tuple[list[int], list[Span | None]]:
        """Token ids "<s> concepts </s> sentences </s> embedded text </s>", with the tokenizer's own marks.

        Where all of it is too long, concepts and embedded text keep a third each, if they need it. The marks of an
        empty part stay, so that the classifier knows what the others are.

        Returns:
            At most `text_length` ids, and for each `None` (a mark) or its part, first letter and the one after its
            last.
        """
        encoded = [self._tokens(text) for text in parts]
        kept = self._room(list(map(len, encoded)))
        begin = _first(self.tokenizer.cls_token_id, self.tokenizer.bos_token_id)
        separator = _first(self.tokenizer.sep_token_id, self.tokenizer.eos_token_id)
        ids: list[int] = [] if begin is None else [begin]
        spans: list[Span | None] = [None] * len(ids)
        for number, (part, room) in enumerate(zip(encoded, kept, strict=True)):
            ids += [token for token, _ in part[:room]]
            spans += [(number, *offsets) for _, offsets in part[:room]]
            if separator is not None:
                ids.append(separator)
                spans.append(None)
        return ids, spans

    def _tokens(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Ids of a text with their places in it; "</s>" in a text is a text, not a command."""
        encoded = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False
        )
        # A unigram tokenizer has its marks among its words, and finds them there all the same.
        unknown = self.tokenizer.unk_token_id
        marks = set(self.tokenizer.all_special_ids) - {unknown}
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        plain = [(unknown if token in marks else token, place) for token, place in pairs]
        return [(token, place) for token, place in plain if token is not None]

    def _room(self, lengths: Sequence[int]) -> tuple[int, int, int]:
        room = max(0, self.text_length - 4)
        concepts, embedded = (min(lengths[i], room // _SHARE) for i in (0, 2))
        sentences = min(lengths[1], room - concepts - embedded)
        embedded = min(lengths[2], room - concepts - sentences)
        return min(lengths[0], room - sentences - embedded), sentences, embedded

    @property
    def model_input_names(self) -> list[str]:
        return ["pixel_values", "input_ids", "attention_mask"]


def _first(*ids: int | None) -> int | None:
    return next((token for token in ids if token is not None), None)


__all__ = ["AciecProcessor"]
