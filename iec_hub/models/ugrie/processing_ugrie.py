"""Images, templates and candidate phrases to tensors, for UGRIE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, ProcessorMixin

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.models.processing_image_emotion import image_tensors, label_rows, models_per_item
from iec_hub.models.ugrie.configuration_ugrie import UgrieConfig

Tokens = list[list[int]]


class UgrieProcessor(ProcessorMixin):
    r"""
    Image processor and tokenizer in one, with the templates and label words of the checkpoint.

    Args:
        image_processor: any image processor of transformers.
        tokenizer: the tokenizer of the BART-family language part.
        emotion_models (`list[dict]`, *optional*), templates (`dict[str, str]`, *optional*):
            As in [`UgrieConfig`]; [`~UgrieProcessor.adopt`] takes them over from a configuration.
        decoder_start_token_id (`int`, *optional*):
            What the decoder begins with; the end token if left out, as in BART.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        emotion_models: Sequence[Mapping[str, Any]] | None = None,
        templates: Mapping[str, str] | None = None,
        decoder_start_token_id: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(image_processor, tokenizer, **kwargs)
        settings = UgrieConfig(emotion_models=emotion_models, templates=templates)
        self.emotion_models, self.templates = settings.emotion_models, settings.templates
        start = tokenizer.eos_token_id if decoder_start_token_id is None else decoder_start_token_id
        self.decoder_start_token_id = start
        self._settings = settings
        self._texts: dict[EmotionModel, tuple[list[int], list[int], Tokens]] = {}

    def adopt(self, config: UgrieConfig) -> UgrieProcessor:
        """Take templates, label words and the decoder's start from a model's configuration, which is their owner."""
        self.emotion_models, self.templates = config.emotion_models, config.templates
        start = config.text_config.decoder_start_token_id
        self.decoder_start_token_id = self.decoder_start_token_id if start is None else start
        self._settings = config
        self._texts.clear()
        return self

    def to_dict(self) -> dict[str, Any]:
        fields = super().to_dict()
        return {name: value for name, value in fields.items() if name not in ("_settings", "_texts")}

    def resolve_emotion_model(self, emotion_model: str | EmotionModel | Sequence[str] | None) -> EmotionModel:
        """See [`ImageEmotionConfig.resolve_emotion_model`]."""
        return self._settings.resolve_emotion_model(emotion_model)

    def fill_template(self, emotion_model: str | EmotionModel, index: int) -> str:
        """The template with the phrase of the emotion model's label number `index` in its slot."""
        emotion_model = self.resolve_emotion_model(emotion_model)
        before, after = self._settings.template_for(emotion_model)
        return f"{before}{emotion_model.phrases[index]}{after}"

    def __call__(
        self,
        images: Any = None,
        emotion_models: str | EmotionModel | Sequence[str | EmotionModel] | None = None,
        distributions: Sequence[np.ndarray] | None = None,
        batch_size: int | None = None,
        return_tensors: str = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        r"""
        Args:
            images: one RGB image or a list of them; left out where image features come from a cache.
            emotion_models: one for all images, or one per image; the default one if left out.
            distributions: per image, its label distribution `(n,)` in its emotion model's order.
            batch_size: number of items, needed only without images and with one emotion model for all.
            return_tensors: `"pt"`, the only kind there is.
            kwargs: further arguments of the image processor; it refuses those that it does not know.

        Returns:
            `pixel_values` and the text tensors that [`UgrieForImageEmotion.forward`] describes; `labels`
            `(batch, candidates)` where distributions were given; `emotion_models`, a list.

        Raises:
            DataError: if lengths do not agree or an emotion model is not known.
        """
        images, data = image_tensors(self.image_processor, images, return_tensors, kwargs)
        if images is not None:
            batch_size = len(images)
        models = models_per_item(self._settings, emotion_models, batch_size)
        data |= self._text_tensors(models)
        if distributions is not None:
            data["labels"] = label_rows(distributions, models, data["candidate_mask"])
        data["emotion_models"] = models
        return BatchFeature(data)

    def _tokenised(self, emotion_model: EmotionModel) -> tuple[list[int], list[int], Tokens]:
        """Encoder template, decoder prompt and candidate phrases as ids; kept, because every batch asks again."""
        if emotion_model in self._texts:
            return self._texts[emotion_model]
        before, after = self._settings.template_for(emotion_model)
        template = self.tokenizer(f"{before}{self.tokenizer.mask_token}{after}")["input_ids"]
        empty = self.tokenizer("")["input_ids"]
        begins = self.tokenizer.bos_token_id is not None and empty[:1] == [self.tokenizer.bos_token_id]
        prompt = [self.decoder_start_token_id, *([self.tokenizer.bos_token_id] if begins else [])]
        prompt += self.tokenizer(before.rstrip(), add_special_tokens=False)["input_ids"]
        # The leading space matters to byte-level tokenizers: within a sentence a word is not the same token.
        phrases = [
            self.tokenizer(f" {phrase}", add_special_tokens=False)["input_ids"] for phrase in emotion_model.phrases
        ]
        for label, ids in zip(emotion_model.labels, phrases, strict=True):
            if not ids:
                raise DataError(f"The label {label!r} has no words that the model can read; give it label words.")
        if len(self._texts) >= 64:  # visitors may send any number of label lists
            self._texts.clear()
        self._texts[emotion_model] = (template, prompt, phrases)
        return self._texts[emotion_model]

    def _text_tensors(self, models: Sequence[EmotionModel]) -> dict[str, torch.Tensor]:
        distinct = list(dict.fromkeys(models))
        texts = {model: self._tokenised(model) for model in distinct}
        owners = [model for model in distinct for _ in model.labels]
        input_ids, attention_mask = self._padded([texts[model][0] for model in models])
        prompt_ids, prompt_mask = self._padded([texts[model][1] for model in models])
        candidate_ids, candidate_mask = self._padded([ids for model in distinct for ids in texts[model][2]])
        owned = {model: torch.tensor([owner is model for owner in owners]) for model in distinct}
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "decoder_input_ids": prompt_ids,
            "decoder_attention_mask": prompt_mask,
            "candidate_ids": candidate_ids,
            "candidate_attention_mask": candidate_mask,
            "candidate_mask": torch.stack([owned[model] for model in models]),
        }

    def _padded(self, rows: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(len(row) for row in rows)
        ids = torch.tensor([row + [self.tokenizer.pad_token_id] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return ids, mask

    @property
    def model_input_names(self) -> list[str]:
        return ["pixel_values", "input_ids", "attention_mask"]


__all__ = ["UgrieProcessor"]
