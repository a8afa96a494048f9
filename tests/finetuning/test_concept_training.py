"""Stage 1 of ACIEC: what goes with what, and that what was planted is found."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from iec_hub.affect.concepts import Concept, ConceptVocabulary
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError
from iec_hub.finetuning.concept_training import (
    ConceptLevels,
    ConceptRecipe,
    DescribedConcepts,
    calibrate_concepts,
    fit_projection,
    fit_word_map,
    precision_at,
    set_prior,
    teach_concepts,
    train_projection,
)
from iec_hub.models.aciec import AciecConfig
from iec_hub.models.aciec.concepts_aciec import ConceptDetector

MIKELS, EKMAN = EMOTION_MODELS["mikels8"], EMOTION_MODELS["ekman7"]
FEAR, SADNESS, AWE = (MIKELS.index(label) for label in ("fear", "sadness", "awe"))
SIZE, POOLED, NUMBER = 16, 6, 24
QUICK = ConceptRecipe(epochs=6, batch_size=64, noise=0.3, image_epochs=6)

VOCABULARY = ConceptVocabulary(
    (
        Concept("dark house", -1.0, "fear", "negative"),
        Concept("lonely road", -1.0, "sadness", "negative"),
        Concept("wide sky", 1.0, "awe", "positive"),
        Concept("bad thing", -1.0, None, "negative"),
        Concept("new thing"),
    )
)


def random_unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def detector(number: int = NUMBER, word_size: int = 5) -> ConceptDetector:
    names = [f"concept {chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(number)]
    built = ConceptDetector(AciecConfig(concepts=names, concept_size=SIZE), POOLED, word_size)
    with torch.no_grad():
        built.embeddings.copy_(random_unit(number, SIZE, seed=9))
        built.prior.zero_()
        built.scale.fill_(20.0)
    return built.requires_grad_(False)


def labelled(number: int = NUMBER) -> ConceptLevels:
    """Concepts that belong to Mikels' emotions in turn."""
    concepts = [Concept(f"concept {i}", None, MIKELS.labels[i % 8], MIKELS.polarities[i % 8]) for i in range(number)]
    return ConceptLevels(ConceptVocabulary(tuple(concepts)), MIKELS)


def pairs(concepts: list[list[int]], emotions: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    items = DescribedConcepts(torch.empty(0), concepts, torch.tensor(emotions))
    return ConceptLevels(VOCABULARY, MIKELS).pairs(items.has_concept(len(VOCABULARY)), items.emotions)


def on(rows: torch.Tensor) -> list[str]:
    """Rows of a bool table as "x" and "."."""
    return ["".join("x" if cell else "." for cell in row) for row in rows]


def test_an_image_with_emotion_and_concepts_speaks_at_all_levels() -> None:
    positives, candidates = pairs([[0]], [FEAR])
    assert [on(level)[0] for level in positives] == ["xx.x.", "x....", "x...."]
    # Of "bad thing" the emotion is not known, but it is no positive one's either; of "new thing" nothing is known.
    assert [on(level)[0] for level in candidates] == ["xxxx.", "xxx..", "xxxxx"]


def test_an_image_with_emotion_alone_says_nothing_about_concepts() -> None:
    positives, candidates = pairs([[], []], [AWE, SADNESS])
    assert on(positives[0]) == ["..x..", "xx.x."] and on(positives[1]) == ["..x..", ".x..."]
    assert not positives[2].any() and not candidates[2].any()
    # Another polarity is another emotion, whichever that is.
    assert on(candidates[1]) == ["xxxx.", "xxx.."]


def test_concepts_alone_are_positives_at_every_level() -> None:
    positives, candidates = pairs([[1, 4]], [-1])
    assert [on(level)[0] for level in positives] == [".x..x"] * 3
    assert [on(level)[0] for level in candidates] == [".x..x", ".x..x", "xxxxx"]


def test_a_concept_that_contradicts_the_emotion_stays_a_positive() -> None:
    positives, candidates = pairs([[2]], [FEAR])
    assert [on(level)[0] for level in positives] == ["xxxx.", "x.x..", "..x.."]
    assert (candidates | positives).equal(candidates)


def test_an_image_of_which_nothing_is_known_teaches_nothing() -> None:
    positives, candidates = pairs([[]], [-1])
    assert not positives.any() and not candidates.any()


def test_an_emotion_without_polarity_says_only_itself() -> None:
    vocabulary = ConceptVocabulary(
        (Concept("sudden noise", None, "surprise"), Concept("dark house", None, "fear", "negative"))
    )
    levels = ConceptLevels(vocabulary, EKMAN)
    surprise = EKMAN.index("surprise")
    positives, _ = levels.pairs(torch.zeros(1, 2, dtype=torch.bool), torch.tensor([surprise]))
    assert not positives[0].any(), "surprise may be pleasant or not"


def test_labels_of_another_emotion_model_are_those_of_the_same_name() -> None:
    known = ConceptLevels(VOCABULARY, MIKELS).known_labels(EKMAN)
    assert [MIKELS.labels[i] if i >= 0 else None for i in known] == [
        label if label in MIKELS.labels else None for label in EKMAN.labels
    ]


def world(items: int = 480, per_item: int = 2, seed: int = 0) -> tuple[torch.Tensor, DescribedConcepts, ConceptLevels]:
    """Names, and descriptions that lie near a rotation of what they list: the identity places them wrongly."""
    generator = torch.Generator().manual_seed(seed)
    names = random_unit(NUMBER, SIZE, seed=1)
    rotation = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator))[0]
    listed = [torch.randperm(NUMBER, generator=generator)[:per_item].tolist() for _ in range(items)]
    listed = [sorted(own, key=lambda i: i % 8) for own in listed]
    means = torch.stack([names[own].mean(0) for own in listed])
    places = normalize(means @ rotation + 0.02 * torch.randn(items, SIZE, generator=generator), dim=-1)
    emotions = torch.tensor([own[0] % 8 for own in listed])
    return names, DescribedConcepts(places, listed, emotions), labelled()


def taught(recipe: ConceptRecipe = QUICK, **world_options: Any) -> tuple[ConceptDetector, torch.Tensor, Any]:
    built, (names, rows, levels) = detector(), world(**world_options)
    to_concepts, log = teach_concepts(built, names, rows, levels, recipe)
    assert set(log) == {"concept_scale", "concept_prior"} and log["concept_scale"] > 0
    return built, to_concepts, (names, rows)


def test_descriptions_find_their_concepts_after_teaching() -> None:
    built, to_concepts, (names, rows) = taught(replace(QUICK, epochs=15, learning_rate=1e-2))
    built.prior.zero_()
    held_out = torch.arange(len(rows.concepts)) % 10 == 0  # of these it has chosen scale and prior alone
    listed = [own for own, new in zip(rows.concepts, held_out.tolist(), strict=True) if new]
    scores = built.logits(normalize(rows.places[held_out] @ to_concepts, dim=-1))
    untrained = rows.places[held_out] @ names.T
    assert precision_at(untrained, listed, 2) < 0.3
    assert precision_at(scores, listed, 2) > 0.7
    assert torch.allclose(built.embeddings.norm(dim=-1), torch.ones(NUMBER), atol=1e-5)


def test_a_description_that_is_a_concept_gets_it_first() -> None:
    built, names = detector(), random_unit(NUMBER, SIZE, seed=1)
    own = [[i % NUMBER] for i in range(480)]
    rows = DescribedConcepts(names.repeat(20, 1), own, torch.arange(480) % NUMBER % 8)
    to_concepts, _ = teach_concepts(built, names, rows, labelled(), QUICK)
    scores = built.logits(normalize(names @ to_concepts, dim=-1))
    assert scores.argmax(1).tolist() == list(range(NUMBER))


def test_frequent_concepts_have_the_higher_prior() -> None:
    generator = torch.Generator().manual_seed(3)
    weights = 1 / torch.arange(1.0, NUMBER + 1)
    listed = [torch.multinomial(weights, 2, generator=generator).tolist() for _ in range(600)]
    places = random_unit(600, SIZE, seed=4)  # which tell nothing: only frequency does
    rows = DescribedConcepts(places, listed, torch.full((600,), -1))
    built = detector()
    _, log = teach_concepts(built, random_unit(NUMBER, SIZE), rows, labelled(), replace(QUICK, epochs=1))
    assert log["concept_prior"] > 0.5
    assert built.prior[:4].min() > built.prior[-8:].max()
    assert built.prior.mean().item() == pytest.approx(0, abs=1e-4)


def test_the_prior_and_scale_are_those_that_made_the_data() -> None:
    built, generator = detector(), torch.Generator().manual_seed(0)
    cosines = 2 * torch.rand(4000, NUMBER, generator=generator) - 1
    frequency = torch.linspace(-3, 0, NUMBER)
    drawn = torch.multinomial((4 * cosines + 0.5 * frequency).softmax(-1), 1, generator=generator)
    found = set_prior(built, cosines, torch.zeros(4000, NUMBER, dtype=torch.bool).scatter(1, drawn, True), frequency)
    assert found["concept_scale"] == pytest.approx(4, rel=0.1)
    assert found["concept_prior"] == pytest.approx(0.5, rel=0.2)
    assert built.scale.item() == pytest.approx(found["concept_scale"])


@pytest.mark.parametrize("seed", [0, 5])
def test_teaching_depends_on_the_seed_alone(seed: int) -> None:
    recipe = replace(QUICK, epochs=2, seed=seed)
    first, again = taught(recipe), taught(recipe)
    other = taught(replace(recipe, seed=seed + 1))
    assert torch.equal(first[0].embeddings, again[0].embeddings) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_the_flat_loss_hears_no_emotions() -> None:
    names, rows, levels = world()
    flat, silent = detector(), replace(rows, emotions=torch.full_like(rows.emotions, -1))
    recipe = replace(QUICK, epochs=2)
    found = [
        teach_concepts(flat, names, given, levels, replace(recipe, levels=chosen))[0]
        for chosen in ((-1,), None)
        for given in (rows, silent)
    ]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[2], found[3])


def test_the_hierarchy_brings_concepts_of_one_polarity_together() -> None:
    names, rows, levels = world(per_item=1)
    polarity = levels.of_concepts[:, 0]
    alike = polarity[:, None] == polarity[None]

    def gap(**fields: Any) -> float:
        built = detector()
        teach_concepts(built, names, rows, levels, replace(QUICK, learning_rate=1e-2, **fields))
        cosines = built.embeddings @ built.embeddings.T
        return (cosines[alike].mean() - cosines[~alike].mean()).item()

    assert gap() > gap(levels=(-1,)) + 0.05


def test_other_widths_are_one_sentence() -> None:
    _, rows, levels = world()
    with pytest.raises(DataError, match=r"^Concepts are embedded in 7 numbers; [^\n]*\.$"):
        teach_concepts(detector(), random_unit(NUMBER, 7), rows, levels, QUICK)


def test_a_single_description_is_enough_to_go_on() -> None:
    built = detector()
    rows = DescribedConcepts(random_unit(1, SIZE), [[0, 1]], torch.tensor([0]))
    to_concepts, _ = teach_concepts(built, random_unit(NUMBER, SIZE), rows, labelled(), replace(QUICK, epochs=1))
    for tensor in (to_concepts, built.embeddings, built.prior, built.scale):
        assert tensor.isfinite().all()


def test_a_linear_map_is_recovered_but_for_the_ridge() -> None:
    generator = torch.Generator().manual_seed(0)
    images = 3 + torch.randn(500, POOLED, generator=generator)
    weight, bias = torch.randn(SIZE, POOLED, generator=generator), torch.randn(SIZE, generator=generator)
    found, offset = fit_projection(images, images @ weight.T + bias, 1e-3)
    torch.testing.assert_close(found, weight, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(offset, bias, atol=1e-2, rtol=1e-2)
    shrunk, mean = fit_projection(images, images @ weight.T + bias, 1e9)
    assert shrunk.abs().max() < 1e-4
    torch.testing.assert_close(mean, (images @ weight.T + bias).mean(0), atol=1e-3, rtol=1e-3)


def seen_images(built: ConceptDetector, number: int = 200, views: int = 2) -> tuple[torch.Tensor, DescribedConcepts]:
    """A projection that is off, and images for which a turned one would be right."""
    generator = torch.Generator().manual_seed(0)
    right = torch.randn(SIZE, POOLED, generator=generator)
    pooled = torch.randn(number, POOLED, generator=generator)
    best = (normalize(pooled @ right.T, dim=-1) @ built.embeddings.T).topk(2).indices.tolist()
    noise = 0.05 * torch.randn(views, number, POOLED, generator=generator)
    emotions = torch.tensor([own[0] % 8 for own in best])
    off = 0.1 * (right + 2 * torch.randn(right.shape, generator=generator))
    return off, DescribedConcepts(pooled + noise, best, emotions)


def found_by(built: ConceptDetector, images: DescribedConcepts, weight: torch.Tensor, bias: torch.Tensor) -> float:
    scores = normalize(images.places[0] @ weight.T + bias, dim=-1) @ built.embeddings.T
    return precision_at(scores, images.concepts, 2)


def test_labelled_images_improve_the_projection_and_nothing_else() -> None:
    built = detector()
    weight, images = seen_images(built)
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    bias, start = torch.zeros(SIZE), weight.clone()
    recipe = replace(QUICK, image_epochs=20, image_learning_rate=1e-2)
    found = train_projection(weight, bias, built, images, labelled(), recipe)
    assert found_by(built, images, *found) > found_by(built, images, weight, bias) + 0.15
    assert torch.equal(weight, start) and not any(part.requires_grad for part in found)
    # NaN where nothing was set, such as the word map.
    assert all(torch.equal(built.state_dict()[n].nan_to_num(), t.nan_to_num()) for n, t in before.items())
    again = train_projection(weight, bias, built, images, labelled(), recipe)
    assert all(map(torch.equal, found, again))


def test_without_epochs_or_images_the_projection_stays() -> None:
    built = detector()
    weight, images = seen_images(built)
    none = DescribedConcepts(images.places[:, :0], [], images.emotions[:0])
    for given, epochs in ((images, 0), (none, 3)):
        found = train_projection(
            weight, torch.ones(SIZE), built, given, labelled(), replace(QUICK, image_epochs=epochs)
        )
        assert torch.equal(found[0], weight) and torch.equal(found[1], torch.ones(SIZE))


def test_probabilities_are_how_often_concepts_are_named() -> None:
    built, generator = detector(), torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(1500, NUMBER, generator=generator)
    truth = (0.7 * logits.log_softmax(-1) + 0.8).sigmoid()
    named = torch.rand(truth.shape, generator=generator) < truth
    calibrate_concepts(built, logits, named)
    said = built.probabilities(logits)
    assert built.calibration.tolist() == pytest.approx([0.7, 0.8], abs=0.1)
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)):
        some = (said >= low) & (said < high)
        assert some.sum() > 100
        assert named[some].float().mean().item() == pytest.approx(said[some].mean().item(), abs=0.03)


def test_new_names_are_placed_by_their_words() -> None:
    built, generator = detector(word_size=5), torch.Generator().manual_seed(0)
    words, turn = torch.randn(NUMBER + 8, 5, generator=generator), torch.randn(5, SIZE, generator=generator)
    places = normalize(words @ turn, dim=-1)
    built.embeddings.copy_(places[:NUMBER])
    fit_word_map(built, words[:NUMBER])
    new = built.word_map(words[NUMBER:])
    assert cosine_similarity(new, places[NUMBER:]).min() > 0.8
    assert (normalize(new, dim=-1) @ places[NUMBER:].T).argmax(1).tolist() == list(range(8))


def test_precision_is_over_the_images_that_have_concepts() -> None:
    scores = torch.tensor([[5.0, 4, 3, 2, 1], [1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])
    assert precision_at(scores, [[0, 4], [3, 4], []], 2) == pytest.approx((1 / 2 + 1) / 2)
    assert precision_at(scores.numpy(), [[0], [0], [0]], 5) == pytest.approx(1 / 5)
    assert math.isnan(precision_at(scores, [[], [], []], 2))
