"""ACIEC's concepts: what the detector computes, and other concepts than the trained ones."""

from pathlib import Path

import pytest
import torch
from tiny_parts import CONCEPTS, TOKENIZERS, build_aciec, random_pictures

from iec_hub.affect.concepts import Concept, ConceptVocabulary
from iec_hub.errors import DataError
from iec_hub.models import AciecForImageEmotion
from iec_hub.models.aciec.concepts_aciec import ConceptDetector


def detected(model: AciecForImageEmotion, pooled: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.find_concepts(pooled)


def test_logits_are_scaled_cosines_and_priors() -> None:
    model, _ = build_aciec()
    detector, pooled = model.concept_detector, torch.randn(3, 32)
    torch.nn.init.normal_(detector.prior)
    with torch.inference_mode():
        logits = detector(pooled)
        for row in range(3):
            image = detector.projection(pooled[row])
            for place in range(len(CONCEPTS)):
                cosine = torch.cosine_similarity(image, detector.embeddings[place], dim=0)
                expected = detector.scale * cosine + detector.prior[place]
                torch.testing.assert_close(logits[row, place], expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(detector.logits(detector.embed(pooled)), logits)
        torch.testing.assert_close(detector.embed(pooled).norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize("calibration", [(1.0, 0.0), (0.6, 1.5), (3.0, -20.0), (1.0, 50.0)])
def test_probabilities_are_calibrated_shares(calibration: tuple[float, float]) -> None:
    model, _ = build_aciec()
    model.concept_detector.calibration.copy_(torch.tensor(calibration))
    logits = torch.randn(4, 7) * 30
    found = model.concept_detector.probabilities(logits)
    assert (found >= 0).all() and (found <= 1).all()
    shares = logits.softmax(-1).clamp_min(1e-30).log()
    inside = shares > -60
    expected = 1 / (1 + torch.exp(-(calibration[0] * shares + calibration[1])))
    torch.testing.assert_close(found[inside], expected[inside], atol=1e-5, rtol=1e-3)
    assert (found.diff(dim=-1).sign() * logits.diff(dim=-1).sign() >= 0).all(), "the order is that of the logits"


def test_the_best_concepts_come_first() -> None:
    model, processor = build_aciec(concepts_shown=3, concepts_read=4)
    batch = processor(images=random_pictures(4), emotion_models="mikels8")
    with torch.inference_mode():
        gathered = model.gather(batch, processor)
        scores = detected(model, gathered["vision_features"].pooled)
    for row, text in zip(scores, gathered["texts"], strict=True):
        order = row.argsort(descending=True)[:4].tolist()
        assert [concept.text for concept in text.concepts] == [CONCEPTS[place] for place in order]
        assert [concept.score for concept in text.concepts] == pytest.approx(row[order].tolist())
        shown = text.as_fields(model.config)["concepts"]
        assert shown == text.concepts[:3]
        assert text.parts(model.config).concepts == ", ".join(CONCEPTS[place] for place in order)
    assert len({text.concepts[0].text for text in gathered["texts"]}) > 1, "the picture has to matter"


def test_known_concepts_keep_their_place_in_the_space() -> None:
    model, processor = build_aciec()
    torch.nn.init.normal_(model.concept_detector.prior)
    pooled = torch.randn(2, 32)
    with torch.inference_mode():
        before = model.concept_detector(pooled)
    asked = ["Quiet_Beach", "happy dog", "a brand new thing"]
    model.set_concepts(asked, processor)
    assert model.config.vocabulary.names == ("quiet beach", "happy dog", "a brand new thing")
    with torch.inference_mode():
        after = model.concept_detector(pooled)
    places = [CONCEPTS.index("quiet beach"), CONCEPTS.index("happy dog")]
    torch.testing.assert_close(after[:, :2], before[:, places])
    detector = model.concept_detector
    torch.testing.assert_close(detector.embeddings[2:].data, model.embed_concepts([asked[2]], processor))
    assert detector.embeddings.requires_grad and detector.prior.shape == (3,)
    gathered = model.gather(processor(images=random_pictures(1)), processor)
    assert {concept.text for concept in gathered["texts"][0].concepts} == set(model.config.vocabulary.names)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_new_name_is_the_mean_of_its_words(kind: str) -> None:
    model, processor = build_aciec(tokenizer=TOKENIZERS[kind]())
    names = ["joy", "fear and sadness", "awe joy"]
    found = model.embed_concepts(names, processor)
    words = model.text_encoder.get_input_embeddings()
    with torch.inference_mode():
        for row, name in zip(found, names, strict=True):
            ids = processor.tokenizer(name, add_special_tokens=False)["input_ids"]
            expected = model.concept_detector.word_map(words(torch.tensor(ids)).mean(0))
            torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizers_marks_in_a_name_are_text(kind: str) -> None:
    model, processor = build_aciec(tokenizer=TOKENIZERS[kind]())
    tokenizer = processor.tokenizer
    marked = model.embed_concepts([f"joy {tokenizer.sep_token}"], processor)
    ids = [*tokenizer("joy", add_special_tokens=False)["input_ids"], tokenizer.sep_token_id]
    words = model.text_encoder.get_input_embeddings()(torch.tensor(ids))
    assert not torch.allclose(marked[0], model.concept_detector.word_map(words.mean(0)), atol=1e-3)


def test_concepts_with_embeddings_of_their_own() -> None:
    model, processor = build_aciec()
    own = torch.randn(2, 16)
    facts = ConceptVocabulary((Concept("happy dog", 1.0, "amusement", "positive"), Concept("new thing")))
    model.set_concepts(facts, processor, own)
    assert torch.equal(model.concept_detector.embeddings, own) and model.config.vocabulary == facts
    own.zero_()
    assert model.concept_detector.embeddings.all(), "a copy"


def test_frozen_concepts_stay_frozen() -> None:
    model, processor = build_aciec()
    model.concept_detector.requires_grad_(False)
    model.set_concepts(["happy dog", "new thing"], processor)
    assert not any(parameter.requires_grad for parameter in model.concept_detector.parameters())


@pytest.mark.parametrize(
    ("concepts", "embeddings", "reason"),
    [
        ([], None, "There is no concept"),
        (["<b>"], None, "is no concept"),
        ([""], None, "is no concept"),
        (["happy dog"], torch.zeros(2, 16), r"shape \(2, 16\) do not fit 1 concepts of width 16"),
        (["happy dog"], torch.zeros(16), r"shape \(16,\) do not fit"),
    ],
)
def test_concepts_that_cannot_be_used_change_nothing(concepts: list, embeddings: torch.Tensor, reason: str) -> None:
    model, processor = build_aciec()
    before = model.concept_detector.embeddings
    with pytest.raises(DataError, match=rf"^[^\n]*{reason}[^\n]*\.$"):
        model.set_concepts(concepts, processor, embeddings)
    assert model.config.vocabulary.names == CONCEPTS and model.concept_detector.embeddings is before


def test_other_concepts_travel_with_the_checkpoint(tmp_path: Path) -> None:
    model, processor = build_aciec()
    facts = ConceptVocabulary((Concept("happy dog", 1.5, "joy", "positive"), Concept("odd thing")))
    model.set_concepts(facts, processor)
    model.save_pretrained(tmp_path)
    loaded = AciecForImageEmotion.from_pretrained(tmp_path)
    assert loaded.config.vocabulary == facts
    pooled = torch.randn(2, 32)
    assert torch.equal(detected(loaded, pooled), detected(model, pooled))


def test_a_detector_alone_has_the_sizes_it_is_asked_for() -> None:
    model, _ = build_aciec()
    detector = ConceptDetector(model.config, pooled_size=5, word_size=3)
    assert detector.projection.weight.shape == (16, 5) and detector.word_map.weight.shape == (16, 3)
