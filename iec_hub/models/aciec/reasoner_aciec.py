"""The small reasoner: from an image's attributes to the feelings that they evoke, and to sentences.

It needs no image of its own: it reads what the vision tower has seen for the concepts anyway. What is observed comes
from an [`AttributeCaptioner`]; the feeling that an attribute evokes is told by a linear map of what the tower says
about that attribute (light and colour in its early stages, the scene in its middle ones, objects in its last one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from iec_hub.affect.attributes import ImageAttributes
from iec_hub.affect.captions import (
    BRIGHT,
    DARK,
    DULL,
    GUESS,
    VERY_BRIGHT,
    VERY_DARK,
    VERY_DULL,
    VERY_VIVID,
    VIVID,
    compose_caption,
)
from iec_hub.affect.embedded_text import joined_embedded_text
from iec_hub.affect.feelings import feeling_words
from iec_hub.affect.phrases import action_phrase, expression_word, object_phrase, scene_phrases
from iec_hub.affect.reasoning import Reasoner, Reasoning
from iec_hub.errors import DataError
from iec_hub.models.aciec.configuration_aciec import FEELING_ATTRIBUTES, AciecConfig
from iec_hub.models.escnet.captioner_escnet import build_captioner
from iec_hub.prediction import ReasoningStep

NAME = "aciec"
_MOST_AS_A_WHOLE = 4
BINS = 11  # of brightness and colourfulness, as in EmoSet


class AttributeReasoner(nn.Module):
    """Observations and feelings, attribute by attribute.

    Args:
        pooled_size: width of the pooled image.
        labels: columns of all emotion models together.
    """

    name = NAME

    def __init__(self, config: AciecConfig, pooled_size: int, labels: int):
        super().__init__()
        # CODEPATH: without an observer, light and colours are all that is named.
        self.observer = build_captioner(config.observer_config) if config.observer_config is not None else None
        self.columns = {name: tuple(config.feeling_columns.get(name, (0, pooled_size))) for name in FEELING_ATTRIBUTES}
        widths = {name: stop - start for name, (start, stop) in self.columns.items()}
        widths |= {"brightness": BINS, "colorfulness": BINS + widths["colorfulness"], "concepts": config.concept_size}
        self.feelings = nn.ModuleDict({name: nn.Linear(widths[name], labels) for name in FEELING_ATTRIBUTES})

    def inputs(
        self,
        attribute: str,
        whole: torch.Tensor,
        embedded: torch.Tensor,
        brightness: torch.Tensor,
        colorfulness: torch.Tensor,
    ) -> torch.Tensor:
        """What the feeling of an attribute is told from, `(batch, width)`.

        Args:
            whole: normed pooled images `(batch, pooled size)`.
            embedded: the same in the space of concepts `(batch, concept size)`.
            brightness, colorfulness: `(batch,)` in [0, 1]; NaN where unknown.
        """
        if attribute == "concepts":
            return embedded
        if attribute == "brightness":
            return in_bins(brightness).to(whole)
        start, stop = self.columns[attribute]
        seen = whole[:, start:stop]
        return torch.cat([in_bins(colorfulness).to(whole), seen], dim=-1) if attribute == "colorfulness" else seen

    def forward(
        self, whole: torch.Tensor, embedded: torch.Tensor, brightness: torch.Tensor, colorfulness: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Attribute to logits `(batch, labels)` of the feeling it evokes; arguments as in [`inputs`]."""
        given = (whole, embedded, brightness, colorfulness)
        return {
            name: layer(self.inputs(name, *given).to(layer.weight.dtype)).float()
            for name, layer in self.feelings.items()
        }

    def whole_feeling(self, whole: torch.Tensor) -> torch.Tensor:
        """The feeling of the whole picture alone, `(batch, labels)`, from normed pooled images."""
        layer, (start, stop) = self.feelings["whole"], self.columns["whole"]
        return layer(whole[:, start:stop].to(layer.weight.dtype)).float()

    def observe(
        self, pooled: torch.Tensor, brightness: Sequence[float | None], colorfulness: Sequence[float | None]
    ) -> list[ImageAttributes]:
        """The attributes of images, from the pooled image `(batch, pooled size)` before its norm."""
        if self.observer is None:
            return [ImageAttributes(*pair) for pair in zip(brightness, colorfulness, strict=True)]
        return self.observer.describe(pooled, brightness, colorfulness)


def in_bins(values: torch.Tensor) -> torch.Tensor:
    """Values in [0, 1] `(batch,)` as weights of 11 bins `(batch, 11)`, shared between the two nearest ones.

    NaN, an unknown value, is in no bin.
    """
    places = values.float().clamp(0, 1)[:, None] * (BINS - 1)
    return (1 - (places - torch.arange(BINS, device=values.device)).abs()).clamp_min(0).nan_to_num(0.0)


def known_numbers(values: Sequence[float | None]) -> torch.Tensor:
    """Numbers as a tensor `(batch,)`, NaN where there is none."""
    return torch.tensor([float("nan") if value is None else value for value in values])


def ask_instead(
    reasoner: Reasoner,
    images: Sequence[Any] | None,
    read: Sequence[Any],
    own: Sequence[Reasoning],
    progress: Callable[[int, Reasoning], None] | None = None,
) -> list[Reasoning]:
    """Another reasoner's answers about images; where it has none, the small one's, which then says why it speaks.

    Args:
        read: per image, the [`EmbeddedText`]s in it, or `None`.
        own: per image, what the small reasoner says.
        progress: told an image's index and its steps so far, by a reasoner that can (`reports_steps`).

    Raises:
        DataError: without images, or if the reasoner does not answer about each.
    """
    if images is None:
        raise DataError("A vision-language reasoner needs the images themselves; give them to the processor.")
    told = {"progress": progress} if progress is not None and getattr(reasoner, "reports_steps", False) else {}
    answers = reasoner.reason(images, [joined_embedded_text(found) if found else None for found in read], **told)
    if len(answers) != len(own):
        raise DataError(
            f"{reasoner.name} answered {len(answers)} times about {len(own)} images; ask another reasoner."
        )
    silence = f"{reasoner.name} said nothing about this picture."
    return [
        answer if answer.steps or answer.sentences else replace(small, fallback=answer.fallback or silence)
        for answer, small in zip(answers, own, strict=True)
    ]


def reason(
    found: ImageAttributes, concepts: Sequence[str], feelings: dict[str, Sequence[float]], labels: Sequence[str]
) -> Reasoning:
    """Steps and sentences about one image.

    Args:
        found: what was seen; what is `None` there gets no step.
        concepts: the best ones, best first; without any there is no step about them.
        feelings: attribute to probabilities over `labels`.
    """
    observations = {
        "brightness": _on_scale(found.brightness, ("dark", DARK, VERY_DARK), ("bright", BRIGHT, VERY_BRIGHT), "light"),
        "colorfulness": _on_scale(
            found.colorfulness, ("dull", DULL, VERY_DULL), ("vivid", VIVID, VERY_VIVID), "colours"
        ),
        "scene": _scene(found),
        "object": _objects(found),
        "concepts": " and ".join(concepts[:2]),
        "whole": "all of it together",
    }
    steps = [
        ReasoningStep(name, observations[name], feeling_words(labels, feelings[name]))
        for name in FEELING_ATTRIBUTES
        if observations[name]
    ]
    together = feeling_words(labels, feelings["whole"], _MOST_AS_A_WHOLE)
    sentences = (compose_caption(found), f"As a whole it evokes {together}.")
    return Reasoning(tuple(steps), sentences, NAME)


def _on_scale(value: float | None, low: tuple[str, float, float], high: tuple[str, float, float], noun: str) -> str:
    """ "very dark light"; empty where the value is not known, or nothing special."""
    if value is None:
        return ""
    for (word, notable, extreme), sign in ((low, -1), (high, 1)):
        if sign * value >= sign * notable:
            return f"{'very ' if sign * value >= sign * extreme else ''}{word} {noun}"
    return ""


def _scene(found: ImageAttributes) -> str:
    """The scene and what people do there; a scene that is not recognised is there all the same."""
    phrase = scene_phrases(found.scene.label) if found.scene else None
    words = [_guessed(phrase[0], found.scene.source)] if phrase else []
    action = action_phrase(found.human_action.label) if found.human_action else None
    if action:
        words.append(" ".join(part for part in action if part))
    return " with ".join(words) or "an unnamed place"


def _objects(found: ImageAttributes) -> str:
    names = [_guessed(object_phrase(tag.label), tag.source) for tag in found.objects if object_phrase(tag.label)]
    face = expression_word(found.facial_expression.label) if found.facial_expression else ""
    if face:
        names.append(f"a {face} face")
    return ", ".join(dict.fromkeys(names)) or "unnamed things"


def _guessed(name: str, source: str) -> str:
    return f"perhaps {name}" if source == GUESS else name


def check_columns(config: AciecConfig, pooled_size: int) -> None:
    """Make sure that the pooled image has what the reasoner reads of it.

    Raises:
        DataError: if it has not.
    """
    for name, (_, stop) in config.feeling_columns.items():
        if stop > pooled_size:
            raise DataError(
                f"feeling_columns of {name} end at {stop}, but the pooled image has {pooled_size} channels; correct "
                "them."
            )
    if config.observer_config is not None and config.observer_config.pooled_size != pooled_size:
        raise DataError(
            f"The observer reads {config.observer_config.pooled_size} channels of the pooled image, which has "
            f"{pooled_size}; correct pooled_size."
        )


__all__ = ["AttributeReasoner", "ask_instead", "check_columns", "in_bins", "known_numbers", "reason"]
