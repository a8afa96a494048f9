"""UGRIE's candidates: their scores, the loss over them, and writing them token by token."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_parts import TOKENIZERS, build_ugrie, random_pictures, tensors_of

from iec_hub.emotions import EMOTION_MODELS, Emotion, EmotionModel, get_emotion_model
from iec_hub.errors import DataError
from iec_hub.models.ugrie.scoring_ugrie import slot_constraint

MIXED = ("mikels8", "ekman7", "sentiment2")
PREFIXES = EmotionModel(
    "prefixes", "these", (Emotion("joy"), Emotion("joys", ("joy", "fear")), Emotion("joy of life"), Emotion("anger"))
)


def literal_scores(model: Any, processor: Any, picture: Any, emotion_model: Any) -> torch.Tensor:
    """Mean log-likelihood of every phrase by definition: one full pass per candidate, nothing padded or packed."""
    emotion_model = get_emotion_model(emotion_model)
    tokenizer, language = processor.tokenizer, model.language_model
    before, after = model.config.template_for(emotion_model)
    template = torch.tensor([tokenizer(f"{before}{tokenizer.mask_token}{after}")["input_ids"]])
    features = model.get_image_features(processor.image_processor(images=[picture], return_tensors="pt").pixel_values)
    prefix = model.mapping(model.feature_norm(features.pooled), features.tokens)
    inputs = torch.cat([prefix, language.get_encoder().embed_tokens(template)], dim=1)
    # A sentence's own beginning: the decoder's start token, then what the tokenizer puts before a text.
    sentence = [tokenizer.eos_token_id, *tokenizer(before.rstrip())["input_ids"]]
    sentence = sentence[: -1 if sentence[-1] == tokenizer.eos_token_id else None]
    scores = []
    for phrase in emotion_model.phrases:
        ids = tokenizer(f" {phrase}", add_special_tokens=False)["input_ids"]
        decoder_ids = torch.tensor([sentence + ids])
        logits = language(inputs_embeds=inputs, decoder_input_ids=decoder_ids[:, :-1]).logits
        steps = logits[0, len(sentence) - 1 :].log_softmax(-1)
        scores.append(steps.gather(1, torch.tensor(ids)[:, None]).mean())
    return torch.stack(scores)


def assert_scores_are_literal(model: Any, processor: Any, emotion_models: Any) -> None:
    pictures = random_pictures(len(emotion_models))
    with torch.inference_mode():
        logits = model(**tensors_of(processor(images=pictures, emotion_models=list(emotion_models)))).logits
        for row, picture, emotion_model in zip(logits, pictures, emotion_models, strict=True):
            expected = literal_scores(model, processor, picture, emotion_model)
            torch.testing.assert_close(row[row.isfinite()], expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("language", ["bart", "mbart", "plbart"])
def test_packed_scores_equal_the_definition(kind: str, language: str) -> None:
    model, processor = build_ugrie(tokenizer=TOKENIZERS[kind](), text={"model_type": language})
    model.language_model.final_logits_bias.normal_()
    assert_scores_are_literal(model, processor, MIXED)


@pytest.mark.parametrize(
    "fields",
    [
        {"mapping_type": "transformer", "mapping_heads": 4},
        {"tower": "resnet", "feature_norm": "power"},
        {"text": {"scale_embedding": True}},
        {"attn_implementation": "eager"},
    ],
    ids=["transformer_mapping", "feature_map", "scaled_embeddings", "eager_attention"],
)
def test_packed_scores_equal_the_definition_in_every_build(fields: dict[str, Any]) -> None:
    attention = fields.pop("attn_implementation", None)
    model, processor = build_ugrie(**fields)
    if attention:
        model.set_attn_implementation(attention)
        assert model.language_model.config._attn_implementation == attention
    assert_scores_are_literal(model, processor, MIXED)


def test_single_token_labels_and_labels_that_begin_others() -> None:
    model, processor = build_ugrie()
    single = EmotionModel.from_labels(["joy", "fear", "anger"])
    assert processor(batch_size=1, emotion_models=single)["candidate_ids"].shape[1] == 1
    assert_scores_are_literal(model, processor, [single, PREFIXES, single])


def test_more_candidates_than_one_pass_holds() -> None:
    model, processor = build_ugrie(text={"max_position_embeddings": 40})
    many = EmotionModel.from_labels(
        [f"{a} {b}" for a in ("calm", "grim", "odd", "wry") for b in ("joy", "fear", "awe")]
    )
    calls: list[int] = []
    decoder = model.language_model.get_decoder()
    decoder.register_forward_hook(lambda _, __, output: calls.append(output.last_hidden_state.shape[1]))
    with torch.inference_mode():
        model(**tensors_of(processor(images=random_pictures(2), emotion_models=many)))
    assert len(calls) > 1 and max(calls) <= 40
    assert_scores_are_literal(model, processor, [many, "sentiment2", many])


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    model, processor = build_ugrie(text={"max_position_embeddings": 32})
    long = EmotionModel.from_labels(["joy", "w x y z " * 9])
    with pytest.raises(DataError, match=r"^A label of \d+ tokens is longer .*; shorten it\.$"):
        model(**tensors_of(processor(images=random_pictures(1), emotion_models=long)))
    titled = EmotionModel.from_labels(["joy", "fear"], title="w x y z " * 9)
    with pytest.raises(DataError, match=r"^The template needs \d+ tokens .*\.$"):
        model(**tensors_of(processor(images=random_pictures(1), emotion_models=titled)))


def test_every_part_runs_once_per_batch_however_many_candidates() -> None:
    model, processor = build_ugrie()
    rows: dict[str, list[int]] = {"vision": [], "encoder": [], "decoder": []}
    parts = {"vision": model.vision_model, "encoder": model.language_model.get_encoder()}
    for name, part in {**parts, "decoder": model.language_model.get_decoder()}.items():
        part.register_forward_hook(lambda _, __, output, name=name: rows[name].append(len(output.last_hidden_state)))
    with torch.inference_mode():
        model(**tensors_of(processor(images=random_pictures(3), emotion_models="mikels8")))
    assert rows == {"vision": [3], "encoder": [3], "decoder": [3]}


def test_logits_rows_computed_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = build_ugrie()
    batch = tensors_of(processor(images=random_pictures(3), emotion_models=list(MIXED)))
    with torch.inference_mode():
        whole = model(**batch).logits
        monkeypatch.setattr("iec_hub.models.ugrie.scoring_ugrie._MAX_LOGITS", 1)
        torch.testing.assert_close(model(**batch).logits, whole)


def test_loss_is_the_soft_label_cross_entropy_plus_the_weighted_likelihood() -> None:
    votes = [[3, 1, 0, 0, 2, 0, 0, 0], [1, 0, 0, 0, 0, 0, 1], [1, 3]]
    distributions = [EMOTION_MODELS[name].distribution(row) for name, row in zip(MIXED, votes, strict=True)]
    model, processor = build_ugrie(likelihood_weight=0.25)
    batch = processor(images=random_pictures(3), emotion_models=list(MIXED), distributions=distributions)
    with torch.inference_mode():
        output = model(**tensors_of(batch))
    expected = []
    for row, target in zip(output.logits, distributions, strict=True):
        scores = row[row.isfinite()].double().numpy()
        log_probabilities = scores - np.log(np.exp(scores).sum())
        expected.append(-(target * log_probabilities).sum() - 0.25 * (target * scores).sum())
    assert output.loss.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_hard_label_is_a_distribution_with_one_vote() -> None:
    model, processor = build_ugrie(likelihood_weight=0)
    target = EMOTION_MODELS["mikels8"].distribution("awe")
    batch = tensors_of(processor(images=random_pictures(1), emotion_models="mikels8", distributions=[target]))
    with torch.inference_mode():
        output = model(**batch)
    expected = torch.nn.functional.cross_entropy(output.logits, torch.tensor([2]))
    torch.testing.assert_close(output.loss, expected)


def test_training_moves_the_distribution_to_the_votes() -> None:
    model, processor = build_ugrie(likelihood_weight=0)
    votes = EMOTION_MODELS["mikels8"].distribution({"awe": 3, "fear": 1})
    batch = tensors_of(processor(images=random_pictures(2), emotion_models="mikels8", distributions=[votes] * 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    probabilities = model(**batch).logits.softmax(-1)[0]
    np.testing.assert_allclose(probabilities.detach().numpy(), votes, atol=0.05)


def written(model: Any, processor: Any, emotion_models: Any, count: int = 3, **settings: Any) -> list[str]:
    batch = processor(images=random_pictures(count), emotion_models=emotion_models)
    return processor.tokenizer.batch_decode(model.generate(**batch, **settings), skip_special_tokens=True)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_beams": 3},
        {"num_beams": 4, "num_return_sequences": 2},
        {"do_sample": True, "temperature": 5.0},
        {"do_sample": True, "temperature": 5.0, "num_return_sequences": 3},
        {"num_beams": 2, "do_sample": True, "num_return_sequences": 2},
    ],
    ids=["greedy", "beams", "several_beams", "sampling", "several_samples", "beam_sampling"],
)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_constrained_generation_writes_candidates(kind: str, settings: dict[str, Any]) -> None:
    model, processor = build_ugrie(tokenizer=TOKENIZERS[kind]())
    for name in ("mikels8", "sentiment3", PREFIXES):
        texts = written(model, processor, name, constrained=True, **settings)
        assert len(texts) == 3 * settings.get("num_return_sequences", 1)
        # Decoders differ in the space that begins a text, and WordPiece's in that before a comma.
        plain = {phrase.replace(" ", "") for phrase in get_emotion_model(name).phrases}
        assert {text.replace(" ", "") for text in texts} <= plain


def test_every_candidate_can_be_written_and_nothing_else() -> None:
    candidates = torch.tensor([[5, 0], [5, 6], [7, 8]])
    mask = torch.tensor([[1, 0], [1, 1], [1, 1]])
    own = torch.tensor([[True, True, False], [False, False, True]])
    following = slot_constraint(candidates, mask, own, prompt_length=1, end_token_id=9)
    written = [[1], [1, 5], [1, 5, 6], [1, 5, 9]]
    assert [following(0, torch.tensor(row)) for row in written] == [[5], [6, 9], [9], [9]]
    assert [following(1, torch.tensor(row)) for row in ([1], [1, 7])] == [[7], [8]]
    assert slot_constraint(candidates, mask, None, 1, 9)(4, torch.tensor([1])) == [5, 7]


def test_constrained_generation_keeps_each_image_to_its_own_labels() -> None:
    model, processor = build_ugrie()
    first = EmotionModel.from_labels(["joy", "fear"], name="first")
    second = EmotionModel.from_labels(["anger", "trust"], name="second")
    for settings in ({}, {"num_beams": 2}, {"do_sample": True, "num_return_sequences": 4, "temperature": 9.0}):
        texts = written(model, processor, [first, second, first], constrained=True, **settings)
        each = len(texts) // 3
        assert set(texts[:each] + texts[2 * each :]) <= set(first.labels)
        assert set(texts[each : 2 * each]) <= set(second.labels)


def test_settings_in_a_generation_config_count_too() -> None:
    from transformers import GenerationConfig

    model, processor = build_ugrie()
    settings = GenerationConfig(do_sample=True, num_return_sequences=2, pad_token_id=0, eos_token_id=3)
    texts = written(model, processor, "sentiment2", constrained=True, generation_config=settings)
    assert len(texts) == 6 and set(texts) <= {"negative or unpleasant", "positive or pleasant"}


def test_beams_over_all_candidates_find_the_likeliest_phrase() -> None:
    model, processor = build_ugrie()
    single = EmotionModel.from_labels(["joy", "fear", "anger", "trust"])
    batch = tensors_of(processor(images=random_pictures(3), emotion_models=single))
    with torch.inference_mode():
        best = model(**batch).logits.argmax(-1).tolist()
    assert written(model, processor, single, constrained=True) == [single.labels[index] for index in best]


def test_free_generation_begins_with_the_likeliest_token_in_the_slot() -> None:
    model, processor = build_ugrie()
    batch = processor(images=random_pictures(3), emotion_models="mikels8")
    ids = model.generate(**batch, max_new_tokens=1)
    assert ids.shape == (3, 1)
    every_token = torch.arange(len(processor.tokenizer))[:, None]
    text = {"candidate_ids": every_token, "candidate_attention_mask": torch.ones_like(every_token)}
    with torch.inference_mode():
        scores = model(**(tensors_of(batch) | text | {"candidate_mask": None})).logits
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(3))
    assert ids[:, 0].tolist() == scores.argmax(-1).tolist()
    free = model.generate(**batch)
    ended = (free == processor.tokenizer.eos_token_id).any(1)
    assert free.shape[1] <= 16 and (free.shape[1] == 16 or ended.all())


def test_generation_can_return_its_scores() -> None:
    model, processor = build_ugrie()
    batch = processor(images=random_pictures(2), emotion_models="sentiment2")
    output = model.generate(**batch, constrained=True, return_dict_in_generate=True, output_scores=True)
    texts = processor.tokenizer.batch_decode(output.sequences, skip_special_tokens=True)
    assert set(texts) <= {"negative or unpleasant", "positive or pleasant"} and output.scores


def test_generation_refuses_templates_of_different_length() -> None:
    model, processor = build_ugrie()
    with pytest.raises(DataError, match="one emotion model per batch"):
        written(model, processor, list(MIXED))
