"""Images and captions to tensors, for ESCNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, ProcessorMixin

from iec_hub.affect.attributes import brightness, colorfulness
from iec_hub.data.schema import joined_text
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.models.escnet.configuration_escnet import EscnetConfig
from iec_hub.models.processing_image_emotion import classifier_targets, image_tensors


class EscnetProcessor(ProcessorMixin):
    r"""
    Image processor, the caption encoder's tokenizer and the captioner's tokenizer in one.

    Args:
        image_processor: any image processor of transformers.
        tokenizer: the caption encoder's tokenizer; a fast one, whose offsets tell words apart.
        captioner_tokenizer (*optional*): the captioner's; the caption encoder's if left out.
        emotion_models (`list[dict]`, *optional*): as in [`EscnetConfig`]; [`~EscnetProcessor.adopt`] takes them over.
        caption_length (`int`, *optional*, defaults to 64): tokens of a caption that are read.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        captioner_tokenizer: Any = None,
        emotion_models: Sequence[Mapping[str, Any]] | None = None,
        caption_length: int = 64,
        **kwargs: Any,
    ):
        super().__init__(image_processor, tokenizer, captioner_tokenizer or tokenizer, **kwargs)
        self.caption_length = caption_length
        self._settings = EscnetConfig(emotion_models=emotion_models)
        self.emotion_models = self._settings.emotion_models

    def adopt(self, config: EscnetConfig) -> EscnetProcessor:
        """Take the emotion models from a model's configuration, which is their owner."""
        self._settings, self.emotion_models = config, config.emotion_models
        most = getattr(config.text_config, "max_position_embeddings", None)
        if most:  # RoBERTa's positions begin after the padding id
            self.caption_length = min(self.caption_length, most - 2)
        return self

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().to_dict().items() if name != "_settings"}

    def __call__(
        self,
        images: Any = None,
        emotion_models: str | EmotionModel | Sequence[str | EmotionModel] | None = None,
        captions: Sequence[str] | str | None = None,
        distributions: Sequence[np.ndarray] | None = None,
        batch_size: int | None = None,
        return_tensors: str = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        r"""
        Args:
            images: one RGB image or a list of them; left out where image features come from a cache.
            emotion_models: one for all images, or one per image, each trained; the default one if left out.
            captions: ready captions, one per image; left out, [`~EscnetForImageEmotion.gather`] writes them.
            distributions: per image, its label distribution `(n,)` in its emotion model's order.
            batch_size: number of items, needed only without images, captions and several emotion models.
            return_tensors: `"pt"`, the only kind there is.
            kwargs: further arguments of the image processor; it refuses those that it does not know.

        Returns:
            `pixel_values` and what [`EscnetForImageEmotion.forward`] describes; `labels` `(batch, candidates)` where
            distributions were given; `brightness` and `colorfulness` of the images, `captions` and `emotion_models`,
            lists.

        Raises:
            DataError: if lengths do not agree or an emotion model was not trained.
        """
        images, data = image_tensors(self.image_processor, images, return_tensors, kwargs)
        if images is not None:
            data["brightness"] = [brightness(image) for image in images]
            data["colorfulness"] = [colorfulness(image) for image in images]
            batch_size = len(images)
        if captions is not None:
            captions = [captions] if isinstance(captions, str) else list(captions)
            if batch_size not in (None, len(captions)):
                raise DataError(f"{batch_size} images came with {len(captions)} captions; give one each.")
            batch_size = len(captions)
            data |= {"captions": captions, **self.caption_tensors(captions)}
        return BatchFeature(data | classifier_targets(self._settings, emotion_models, batch_size, distributions))

    def caption_tensors(self, captions: Sequence[str]) -> BatchFeature:
        """`caption_ids` and `caption_attention_mask` `(batch, words)`; long captions are cut, blank ones masked."""
        # "[SEP]" in a caption is a text, not a command.
        encoded = self.tokenizer(
            list(captions),
            padding=True,
            truncation=True,
            max_length=self.caption_length,
            return_tensors="pt",
            split_special_tokens=True,
        )
        # A blank caption is none: beside others it says as little as alone.
        said = torch.tensor([[bool(caption.strip())] for caption in captions])
        mask = encoded["attention_mask"] * said.to(encoded["attention_mask"])
        return BatchFeature({"caption_ids": encoded["input_ids"], "caption_attention_mask": mask})

    def read_captions(self, token_ids: torch.Tensor) -> list[str]:
        """What a captioner wrote, as sentences on one line each, without control characters."""
        texts = self.captioner_tokenizer.batch_decode(token_ids, skip_special_tokens=True)
        return [joined_text([text]) or "" for text in texts]

    @property
    def model_input_names(self) -> list[str]:
        return ["pixel_values", "caption_ids", "caption_attention_mask"]


__all__ = ["EscnetProcessor"]
