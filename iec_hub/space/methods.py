"""The methods that a page offers: each a predictor, with what a visitor may ask of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import CheckpointError, DataError, IecHubError
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts

_ANY_LABELS = ("cosy", "eerie")


class Predictor(Protocol):
    """What the page needs of :class:`iec_hub.predictor.EmotionPredictor`.

    Where it has them, the page also goes by `method` (a name), `reads_captions` and `open_labels` (whether it takes
    captions, and labels that it was not trained on), `source_for(emotion_model)` (the emotion model that it really
    predicts in), `reads_embedded_text` (whether it reads the text in a picture, and so has to get it in full size)
    and `check_target(emotion_model, labels)`, which raises a `DataError` for what it cannot tell apart. One that reads
    captions also takes `captions` in `predict`, one that reads text `read_text`, and one with `reports_progress` also
    `progress`, which is told an image's index and what is known of it (an :class:`iec_hub.prediction.Progress`). Boxes
    of text in a picture are in the pixels of the image that `predict` got.

    Several threads ask at the same time; one that has `twin()` is asked through a twin of its own in each.
    """

    @property
    def name(self) -> str: ...

    @property
    def emotion_models(self) -> Mapping[str, EmotionModel]: ...

    @property
    def kind(self) -> str:
        """Which of the research methods it is, such as "ugrie"; several models of one have names of their own."""
        return getattr(self.predictor, "method", self.name)

    @property
    def default_emotion_model(self) -> EmotionModel: ...

    def predict(
        self,
        images: Sequence[Image.Image],
        emotion_model: str | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
    ) -> list[EmotionPrediction]: ...


@dataclass(frozen=True)
class Method:
    """A predictor on the page.

    Attributes:
        name: what clients call it, such as "ugrie".
        models: the emotion models that it can be asked for, by name.
        own_labels: whether it takes a visitor's own labels.
        reads_captions: whether it takes a visitor's caption.
        reads_embedded_text: whether it reads the text in a picture.
        derived: the names of those of `models` whose answers are added up from those for other emotions.
    """

    name: str
    predictor: Predictor
    models: Mapping[str, EmotionModel]
    own_labels: bool
    reads_captions: bool
    reads_embedded_text: bool = False
    derived: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """Which of the research methods it is, such as "ugrie"; several models of one have names of their own."""
        return getattr(self.predictor, "method", self.name)

    @property
    def default(self) -> EmotionModel:
        return self.predictor.default_emotion_model

    @property
    def trained(self) -> tuple[EmotionModel, ...]:
        return tuple(self.predictor.emotion_models.values())

    def note(self, emotion_model: str, own_words: bool = False) -> str:
        """How to read a result in terms of an emotion model that was not part of the training; else empty.

        Args:
            own_words: whether the visitor changed the words for the emotions, which are then all the method goes by.
        """
        if emotion_model in self.predictor.emotion_models:
            return ""
        return texts.DERIVED if emotion_model in self.derived and not own_words else texts.NOT_TRAINED


def page_methods(predictors: Predictor | Mapping[str, Predictor] | Sequence[Predictor]) -> dict[str, Method]:
    """The methods of one predictor or several, by name; the first is the one that the page begins with.

    Raises:
        CheckpointError: if there is no predictor, or two have the same name.
    """
    if isinstance(predictors, Mapping):
        named = list(predictors.items())
    else:
        several = predictors if isinstance(predictors, Sequence) else [predictors]
        named = [(getattr(predictor, "method", predictor.name), predictor) for predictor in several]
    if not named:
        raise CheckpointError("There is no checkpoint for the page; give it at least one predictor.")
    methods = {name: _method(name, predictor) for name, predictor in named}
    if len(methods) < len(named):
        raise CheckpointError("Two predictors of one method were given; give them as a mapping with two names.")
    return methods


def chosen_method(methods: Mapping[str, Method], name: Any) -> Method:
    """The method that a client means; the first where it names none.

    Raises:
        DataError: if there is no such method.
    """
    if name is None or name == "":
        return next(iter(methods.values()))
    if not isinstance(name, str) or name not in methods:
        raise DataError(texts.NO_METHOD.format(name=repr(str(name)[:40]), methods=", ".join(methods)))
    return methods[name]


def _method(name: str, predictor: Predictor) -> Method:
    default = predictor.default_emotion_model
    known = {**EMOTION_MODELS, **predictor.emotion_models, default.name: default}
    own_labels = getattr(predictor, "open_labels", None)
    models = {key: model for key, model in known.items() if _takes(predictor, key, None)}
    own_labels = _takes(predictor, None, _ANY_LABELS) if own_labels is None else bool(own_labels)
    source_for = getattr(predictor, "source_for", None)
    # One that does not say, and takes no labels that it was not trained on, can only add them up.
    if source_for is None:
        derived = frozenset() if own_labels else frozenset(models)
    else:
        derived = frozenset(key for key, model in models.items() if source_for(model).labels != model.labels)
    return Method(
        name=name,
        predictor=predictor,
        models=models,
        own_labels=own_labels,
        reads_captions=bool(getattr(predictor, "reads_captions", False)),
        reads_embedded_text=bool(getattr(predictor, "reads_embedded_text", False)),
        derived=derived,
    )


def _takes(predictor: Predictor, emotion_model: str | None, labels: Sequence[str] | None) -> bool:
    check = getattr(predictor, "check_target", None)
    if check is None:
        return True
    try:
        check(emotion_model, labels)
    except IecHubError:
        return False
    return True
