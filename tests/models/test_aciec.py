"""ACIEC as a citizen of transformers: BERT over a ViT, and RoBERTa over a convolutional tower with an observer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from shared_model_tests import MIXED, SharedModelTests
from tiny_parts import (
    attribute_captioner_config,
    build_aciec,
    byte_level_tokenizer,
    random_pictures,
    tensors_of,
)
from transformers import pipeline

import iec_hub  # noqa: F401  it tells transformers of its pipeline
from iec_hub.models import AciecConfig, AciecForImageEmotion, AciecProcessor
from iec_hub.models.aciec import TextParts
from iec_hub.models.image_emotion import ImageEmotionModel

TEXTS = (
    TextParts("happy dog, bright sky", "A bright photo of a dog.", ""),
    TextParts("scary face", "An old man makes people feel fear and sadness. As a whole it evokes fear.", "Keep out!"),
    TextParts("", "", "joy"),
)
# An attention's keys shift all scores of a query alike; what makes the words decides nothing, and has its own losses.
WITHOUT_GRADIENT = r"attention\.self\.key\.bias$|^concept_detector\.|^reasoner\."


class AciecTests(SharedModelTests):
    model_class, config_class, processor_class = AciecForImageEmotion, AciecConfig, AciecProcessor
    without_gradient = WITHOUT_GRADIENT
    head = r"^(emotion_classifier|reasoner\.feelings\.\w+)\."
    test_the_vision_tower_trains_too = None  # not by the decision, which is made from words: see below

    def inputs(self, rows: slice = slice(None)) -> dict[str, Any]:
        return super().inputs(rows) | {"texts": list(TEXTS[rows])}

    def test_a_processors_batch_can_be_passed_on_whole(self, parts: tuple[ImageEmotionModel, Any]) -> None:
        model, processor = parts
        batch = processor(images=random_pictures(1), return_tensors="pt").to("cpu")
        gathered = model.gather(batch, processor)
        logits = model(**gathered).logits
        assert logits.shape == (1, 8) and logits.isfinite().all()
        assert torch.equal(model(**{**gathered, "pixel_values": None}).logits, logits), "only words may decide"

    def test_the_vision_tower_learns_from_concepts_and_feelings(self) -> None:
        model, processor = self.build()
        pixels = processor(images=random_pictures(3), texts=TEXTS)["pixel_values"]
        whole = model.feature_norm(model.get_image_features(pixels).pooled)
        embedded = model.concept_detector.embed(whole)
        feelings = model.reasoner(whole, embedded, torch.tensor([0.2, 0.5, 0.9]), torch.tensor([0.1, 0.3, 0.7]))
        targets = torch.tensor([0, 1, 2])
        losses = [nn_loss(logits, targets) for logits in (model.concept_detector.logits(embedded), *feelings.values())]
        sum(losses).backward()
        for name, parameter in model.vision_model.named_parameters():
            if not name.endswith("k_proj.bias"):
                assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        trained = [name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()]
        for part in ("projection.weight", "embeddings", "prior", "scale"):
            assert f"concept_detector.{part}" in trained
        assert {f"reasoner.feelings.{name}.weight" for name in model.reasoner.feelings} <= set(trained)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
    def test_half_precision_says_the_same_about_images(
        self, parts: tuple[ImageEmotionModel, Any], folder: Path, dtype: torch.dtype
    ) -> None:
        model, processor = parts
        half = self.model_class.from_pretrained(folder, dtype=dtype)
        cast = self.model_class.from_pretrained(folder).to(dtype)  # also what loading keeps in float32
        batch = processor(images=random_pictures(3), emotion_models="mikels8")
        with torch.no_grad():
            exact = model.find_concepts(model.get_image_features(batch["pixel_values"]).pooled)
            for other in (half, cast):
                features = other.get_image_features(batch["pixel_values"])
                torch.testing.assert_close(other.find_concepts(features.pooled), exact, atol=0.1, rtol=0)
                gathered = other.gather(batch, processor)
                assert other(**gathered).logits.isfinite().all()
                assert all(text.reasoning.steps and text.concepts for text in gathered["texts"])

    @pytest.mark.parametrize("part", ["concept_detector", "reasoner"])
    def test_what_makes_the_words_works_from_disk(
        self, parts: tuple[ImageEmotionModel, Any], folder: Path, tmp_path: Path, part: str
    ) -> None:
        model, processor = parts
        places = {name: "disk" if name == part else "cpu" for name, _ in model.named_children()}
        loaded = self.model_class.from_pretrained(folder, device_map=places, offload_folder=tmp_path)
        assert any(parameter.is_meta for parameter in getattr(loaded, part).parameters())
        batch = processor(images=random_pictures(3), emotion_models=MIXED)
        with torch.no_grad():
            expected, gathered = (each.gather(batch, processor) for each in (model, loaded))
            names = ["happy dog", "a new thing"]
            embedded = [each.embed_concepts(names, processor) for each in (model, loaded)]
            scores = [each.evidence_score(expected, [0, 1, 0]) for each in (model, loaded)]
        assert gathered["parts"] == expected["parts"]
        torch.testing.assert_close(*embedded)
        torch.testing.assert_close(*scores)

    def test_the_pipeline_takes_it(self, folder: Path) -> None:
        classify = pipeline("image-emotion-classification", model=str(folder))
        assert type(classify.model) is AciecForImageEmotion
        one, two = classify(random_pictures(2), evidence=True)
        assert one["method"] == "aciec" and len(one["concepts"]) == 5 and one["reasoning"] and one["evidence"]["words"]
        assert one["distribution"] != two["distribution"]


def nn_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, targets)


class TestBertOverClip(AciecTests):
    missing = {
        r"^emotion_classifier\.bias$": 0.0,
        r"^concept_detector\.embeddings$": None,
        r"^concept_detector\.prior$": 0.0,
        r"^concept_detector\.scale$": 20.0,
        r"^concept_detector\.calibration$": None,
        r"^concept_detector\.word_map\.": None,
        r"^text_encoder\.encoder\.layer\.0\.": None,
        r"^vision_model\.post_layernorm\.weight$": 1.0,
        r"^reasoner\.feelings\.whole\.": None,
    }

    def build(self, **fields: Any) -> tuple[AciecForImageEmotion, AciecProcessor]:
        return build_aciec(**fields)


class TestRobertaOverEfficientNetWithAnObserver(AciecTests):
    missing = {
        r"^(reasoner\.observer\.)?feature_norm\.mean$": 0.0,
        r"^(reasoner\.observer\.)?feature_norm\.scale$": 1.0,
        r"^reasoner\.observer\.detector\.bias$": 0.0,
        r"^reasoner\.observer\.classifier\.": None,
        r"running_mean$": 0.0,
    }

    def build(self, **fields: Any) -> tuple[AciecForImageEmotion, AciecProcessor]:
        observer = attribute_captioner_config(feature_norm="power", classifier_size=128, classifier_minimum=0.001)
        settings = {"feature_norm": "power", "vision_feature_layers": [1, -1]}
        text = {"model_type": "roberta", "type_vocab_size": 1}
        return build_aciec("efficientnet", byte_level_tokenizer(), observer, text, **(settings | fields))


def test_missing_calibration_is_the_softmax_itself(tmp_path: Path) -> None:
    model, _ = build_aciec()
    assert model.concept_detector.calibration.tolist() == [1.0, 0.0]
    model.concept_detector.calibration.copy_(torch.tensor([0.7, -0.3]))
    model.save_pretrained(tmp_path)
    loaded = AciecForImageEmotion.from_pretrained(tmp_path)
    assert loaded.concept_detector.calibration.tolist() == pytest.approx([0.7, -0.3])
    assert "concept_detector.calibration" in load_file(tmp_path / "model.safetensors")


def test_the_contrastive_loss_is_of_training_alone() -> None:
    model, processor = build_aciec(contrastive_weight=2.0, classifier_dropout=0.0, contrastive_positives=0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    rows = [[1.0] + [0.0] * 7, [0.0] * 7 + [1.0], [0.9, 0.1] + [0.0] * 6]
    batch = tensors_of(processor(texts=TEXTS, emotion_models="mikels8", distributions=rows))
    plain = model(**batch).loss
    model.train()
    for module in model.text_encoder.modules():
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
    both = model(**batch)
    embedded = torch.nn.functional.normalize(both.text_embedding, dim=-1)
    scores = embedded @ embedded.T / 0.1
    # The first and third text share their label: each has one positive and one negative.
    expected = sum(torch.logsumexp(scores[i, [j, 1]], 0) - scores[i, j] for i, j in ((0, 2), (2, 0))) / 2
    torch.testing.assert_close(both.loss - plain, 2 * expected, atol=1e-4, rtol=1e-4)
    model.config.contrastive_weight = 0.0
    torch.testing.assert_close(model(**batch).loss, plain, atol=1e-5, rtol=1e-5)


def test_the_contrastive_loss_samples_by_a_frozen_encoder() -> None:
    model, processor = build_aciec(contrastive_weight=1.0, contrastive_positives=1, contrastive_negatives=1)
    texts = [TextParts(sentences=text) for text in ("fear", "fear and joy", "awe", "anger", "sadness", "joy joy")]
    rows = torch.eye(8)[[0, 0, 0, 1, 1, 1]].tolist()
    batch = tensors_of(processor(texts=texts, emotion_models="mikels8", distributions=rows))
    generator = torch.Generator().manual_seed(0)
    model.train()
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(model(**batch, semantics=torch.randn(6, 4, generator=generator)).loss.item())
    assert losses[0] != pytest.approx(losses[1], abs=1e-6)


def test_the_same_label_is_a_positive_in_every_emotion_model() -> None:
    """Without that, fear in one emotion model would be pushed away from fear in another."""
    model, processor = build_aciec(contrastive_weight=1.0)
    mikels, ekman = (model.config.trained_emotion_models[name] for name in ("mikels8", "ekman7"))
    rows = [mikels.distribution("fear"), ekman.distribution("fear"), ekman.distribution("joy")]
    batch = tensors_of(processor(texts=TEXTS, emotion_models=["mikels8", "ekman7", "ekman7"], distributions=rows))
    named = model._by_name(batch["labels"], batch["candidate_ids"])
    assert named.sum(1).tolist() == pytest.approx([1.0] * 3)
    assert torch.equal(named[0], named[1]) and not torch.equal(named[1], named[2])


def test_soft_labels_and_absent_candidates() -> None:
    model, processor = build_aciec()
    rows = [[0.5, 0.5, 0, 0, 0, 0, 0, 0], [0.25, 0.75]]
    batch = tensors_of(processor(texts=TEXTS[:2], emotion_models=["mikels8", "sentiment2"], distributions=rows))
    output = model(**batch)
    assert output.logits.shape == (2, 10) and output.logits.isfinite().sum(1).tolist() == [8, 2]
    first, second = output.logits[0, :8].log_softmax(-1), output.logits[1, 8:].log_softmax(-1)
    expected = -(first[:2].mean() + 0.25 * second[0] + 0.75 * second[1]) / 2
    torch.testing.assert_close(output.loss, expected)


def test_padding_changes_nothing() -> None:
    model, processor = build_aciec()
    batch = processor(texts=TEXTS, emotion_models="mikels8")
    with torch.inference_mode():
        together = model(**tensors_of(batch))
        for row, text in enumerate(TEXTS):
            alone = model(**tensors_of(processor(texts=[text], emotion_models="mikels8")))
            torch.testing.assert_close(alone.logits[0], together.logits[row], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(alone.text_embedding[0], together.text_embedding[row], atol=1e-5, rtol=1e-4)
    assert len(set(batch["attention_mask"].sum(1).tolist())) == 3


def test_an_unread_batch_is_one_sentence() -> None:
    model, processor = build_aciec()
    with pytest.raises(Exception, match=r"^ACIEC decides from words and was given none; run gather\(\) [^\n]*\.$"):
        model(**tensors_of(processor(images=random_pictures(1))))
