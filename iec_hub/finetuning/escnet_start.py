"""Where stage 2 of ESCNet starts: at a linear probe of the image plus what its caption alone evokes.

Few labelled images suffice to fit a linear probe, and too many parameters unlearn it again. So the probe becomes the
image's own classifier and stays as it is, texts have taught the captions' path, and training over images only adds to
both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from iec_hub.finetuning.teacher import probe_teacher
from iec_hub.finetuning.training_data import CaptionSource, ImageSource
from iec_hub.models.escnet import EscnetForImageEmotion


def labelled_captions(sources: Sequence[ImageSource], times: int) -> list[CaptionSource]:
    """The captions of labelled images as texts with emotions: each image's wordings, `times` over."""
    texts = []
    for source in sources:
        if source.captions and times:
            wordings = [[view[i] for view in source.captions] for i in range(len(source.distributions))]
            texts.append(CaptionSource(source.emotion_model, wordings * times, source.distributions.repeat(times, 1)))
    return texts


@torch.no_grad()
def start_from_probes(
    model: EscnetForImageEmotion,
    train: Sequence[ImageSource],
    validation: Sequence[ImageSource],
    caption_weight: float,
) -> dict[str, Any]:
    """Put linear probes into the image's classifier and give the captions' path its share; sets the sources' teachers.

    Afterwards an image's logits are its probe's plus `caption_weight` times what the texts made of its caption, a
    product of two experts. Of the joint representation only the tokens' part has learned anything by then; the others
    start at zero. Of data sets of one emotion model the first one's probe is taken.

    Args:
        train, validation: sources with pooled features; each probe's strength is chosen on validation.
        caption_weight: 0 leaves the captions' path silent at first.

    Returns:
        What was chosen, by data set.
    """
    classifier, image_classifier = model.classifier, model.image_classifier
    size, chosen, started = model.config.fusion_size, {}, set()
    for source, held_out in zip(train, validation, strict=True):
        source.teacher, chosen[source.name] = probe_teacher(model.feature_norm, source, held_out)
        if source.emotion_model.name in started:
            continue
        started.add(source.emotion_model.name)
        columns, probe = model.candidates(source.emotion_model), source.teacher.probe
        weight, bias = classifier.weight[columns], classifier.bias[columns]  # views of them
        # CODEPATH: the ablation without captions has no tokens to have learned from.
        weight.mul_(caption_weight if model.config.use_captions else 0.0)
        weight[:, :size] = 0
        weight[:, 2 * size :] = 0
        bias.mul_(caption_weight if model.config.use_captions else 0.0).add_(probe.bias.to(bias))
        image_classifier.weight[columns] = probe.weight.T.to(image_classifier.weight)
    return chosen


__all__ = ["labelled_captions", "start_from_probes"]
