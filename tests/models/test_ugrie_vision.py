"""Any vision tower in front of UGRIE: its features, the paths around it, and which region spoke."""

from typing import Any

import pytest
import torch
from tiny_parts import SIDE, VISION_TOWERS, build_ugrie, random_pictures, tensors_of, tower_config
from torch import nn
from transformers import AutoConfig, AutoModel

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.models.feature_norm import PowerNorm
from iec_hub.models.image_emotion import VisionFeatures, read_vision, region_evidence, vision_width


def tower(name: str, **fields: Any) -> nn.Module:
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(**(tower_config(name) | fields))).eval()


@pytest.mark.parametrize("mapping", ["mlp", "transformer"])
@pytest.mark.parametrize("name", VISION_TOWERS)
def test_any_tower_scores_and_shows_its_evidence(name: str, mapping: str) -> None:
    model, processor = build_ugrie(tower=name, mapping_type=mapping, mapping_heads=4)
    batch = tensors_of(processor(images=random_pictures(2), emotion_models="mikels8"))
    pixels = batch.pop("pixel_values").requires_grad_()
    width = vision_width(model.config.vision_config)
    regions = []
    for sign in (1, -1):
        features = model.get_image_features(pixels, evidence=True)
        assert features.pooled.shape == (2, width) and features.tokens.shape == (2, 16, width)
        logits = model(**batch, vision_features=features).logits
        assert logits.isfinite().all() and not torch.allclose(logits[0], logits[1], atol=1e-7, rtol=0)
        regions.append(region_evidence(sign * logits.log_softmax(-1)[:, 0], features))
        assert regions[-1].shape == (2, 4, 4) and not regions[-1].requires_grad and regions[-1].min() >= 0
    # Each image has places that speak for the label or against it, unless the gradient is lost on the way.
    assert torch.maximum(*regions).amax(dim=(1, 2)).tolist() == pytest.approx([1, 1])


def test_special_tokens_are_no_places() -> None:
    for name, special in (("clip", 1), ("dinov2_registers", 5), ("siglip", 0), ("swin", 0)):
        vision, pixels = tower(name), torch.rand(1, 3, SIDE, SIDE)
        last = vision(pixel_values=pixels).last_hidden_state
        assert torch.equal(read_vision(vision, pixels).tokens, last[:, special:])


def test_tokens_of_a_wide_image_keep_their_grid() -> None:
    vision = tower("dinov2_registers")
    features = read_vision(vision, torch.rand(1, 3, 20, 56), layers=(1,), evidence=True)  # 2 x 7 patches of 8 pixels
    assert features.tokens.shape == (1, 14, 32)
    assert region_evidence(features.tokens[:, 3].sum(1), features).shape == (1, 4, 14)


def test_width_is_read_from_the_configuration_or_asked_for() -> None:
    stages = {"embed_dim": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "focal_levels": [1, 1]}
    config = AutoConfig.for_model("focalnet", image_size=SIDE, focal_windows=[3, 3], **stages)
    features = read_vision(AutoModel.from_config(config).eval(), torch.rand(1, 3, SIDE, SIDE))
    assert features.pooled.shape[1] == vision_width(config) == 32
    with pytest.raises(DataError, match="^The width of a 'mobilenet_v1' vision tower is not known; .*[.]$"):
        vision_width(AutoConfig.for_model("mobilenet_v1"))


def test_early_layers_join_the_pooled_image() -> None:
    for name, layers in (("efficientnet", (1, -1)), ("clip", (1,))):
        vision, pixels = tower(name), torch.rand(2, 3, SIDE, SIDE)
        output = vision(pixel_values=pixels, output_hidden_states=True)
        plain = read_vision(vision, pixels).pooled
        parts = [plain]
        for layer in layers:
            hidden = output.hidden_states[layer]
            places = hidden.flatten(2) if hidden.dim() == 4 else hidden[:, 1:].transpose(1, 2)
            parts += [places.mean(-1), places.std(-1)]
        torch.testing.assert_close(read_vision(vision, pixels, layers).pooled, torch.cat(parts, dim=1))
        width = sum(part.shape[1] for part in parts)
        model, processor = build_ugrie(tower=name, vision_feature_layers=list(layers), pooled_size=width)
        assert model.mapping.input.in_features == width
        batch = tensors_of(processor(images=random_pictures(2), emotion_models="mikels8"))
        features = model.get_image_features(batch.pop("pixel_values").requires_grad_(), evidence=True)
        regions = region_evidence(model(**batch, vision_features=features).logits[:, 0], features)
        assert regions.shape == (2, 8, 8)  # finer than the last layer's 4 x 4, as early layers know more places
        assert torch.isfinite(regions).all() and regions.amax() == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_class_token_evidence_is_where_the_only_patch_is(sign: int) -> None:
    vision = tower("clip", num_hidden_layers=1)
    nn.init.zeros_(vision.embeddings.position_embedding.weight)  # now a black patch is a token of zeros
    pixels = torch.zeros(2, 3, SIDE, SIDE)
    pixels[0, :, 16:24, 8:16] = torch.rand(3, 8, 8)  # patch in row 2, column 1
    pixels[1, :, 0:8, 24:32] = torch.rand(3, 8, 8)  # row 0, column 3
    features = read_vision(vision, pixels.requires_grad_(), evidence=True)
    direction = torch.randn(32, generator=torch.Generator().manual_seed(1))
    forward = region_evidence(sign * features.pooled @ direction, features)
    features = read_vision(vision, pixels, evidence=True)
    backward = region_evidence(-sign * features.pooled @ direction, features)
    either = forward + backward  # the patch speaks either for the score or against it
    assert either.flatten(1).argmax(1).tolist() == [2 * 4 + 1, 3]
    assert (either > 0).flatten(1).sum(1).tolist() == [1, 1]
    assert (forward * backward == 0).all()


def test_feature_map_evidence_is_the_place_that_scored() -> None:
    vision = tower("resnet")
    pixels = torch.rand(1, 3, 32, 64)  # 4 rows, 8 columns
    for row, column in ((0, 5), (3, 2)):
        features = read_vision(vision, pixels.requires_grad_(), evidence=True)
        score = features.tokens[:, row * 8 + column].sum(1)
        regions = region_evidence(score, features)
        assert regions.shape == (1, 4, 8)
        assert regions[0, row, column] == 1 and (regions > 0).sum() == 1


def test_evidence_is_gradient_times_activation_summed_over_layers() -> None:
    coarse, fine = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 4, 4)
    fine[..., 1, 2], fine[..., 3, 0] = 0.5, -1.0
    layers = (coarse.requires_grad_(), fine.requires_grad_())
    score = coarse.sum((1, 2, 3)) + 2 * fine.sum((1, 2, 3))
    regions = region_evidence(score, VisionFeatures(torch.zeros(1, 1), None, layers))
    # A coarse place's 1 is a quarter for each of its four; the fine places add 2 * 0.5 and 2 * -1.
    expected = torch.full((1, 4, 4), 0.25)
    expected[0, 1, 2], expected[0, 3, 0] = 1.25, 0.0
    torch.testing.assert_close(regions, expected / 1.25)
    silent = region_evidence(0 * coarse.sum((1, 2, 3)), VisionFeatures(torch.zeros(1, 1), None, (coarse,)))
    assert not silent.any()


@pytest.mark.filterwarnings("ignore:std")  # of one image
def test_power_norm_standardises_the_root_of_its_images() -> None:
    pooled = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 50.0, 0.0]) + 0.5
    norm = PowerNorm(3)
    norm.fit(pooled.requires_grad_())
    assert not norm.mean.requires_grad
    result = norm(pooled.detach())
    torch.testing.assert_close(result.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(result[:, :2].std(0), torch.ones(2), atol=1e-4, rtol=0)
    assert not result[:, 2].any()  # constant, so it says nothing
    torch.testing.assert_close(PowerNorm.root(torch.tensor([4.0, -9.0, 0.0])), torch.tensor([2.0, -3.0, 0.0]))
    norm.fit(pooled[:1])
    assert norm.scale.isfinite().all()
    assert set(norm.state_dict()) == {"mean", "scale"}


def test_cached_features_give_the_same_scores() -> None:
    for fields in ({}, {"mapping_type": "transformer", "mapping_heads": 4}):
        model, processor = build_ugrie(**fields)
        batch = tensors_of(processor(images=random_pictures(2), emotion_models="mikels8"))
        with torch.inference_mode():
            expected = model(**batch).logits
            features = model.get_image_features(batch.pop("pixel_values"))
            tokens = features.tokens if fields else None
            cached = model(**batch, pooled_features=features.pooled, token_features=tokens).logits
        assert torch.equal(cached, expected)
    with pytest.raises(ValueError, match="^The transformer mapping reads image tokens; give token_features"):
        model(**batch, pooled_features=features.pooled)


def test_a_text_stands_in_for_an_image() -> None:
    model, processor = build_ugrie(semantic_size=8)
    text = tensors_of(processor(emotion_models="mikels8", batch_size=2))
    places = nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    with torch.inference_mode():
        scores = model(**text, semantic_features=places).logits
        nothing = model(**text).logits
        assert torch.equal(nothing, model(**text, semantic_features=torch.zeros(2, 8)).logits)
        assert not torch.allclose(scores[0], scores[1], atol=1e-4) and not torch.allclose(scores, nothing, atol=1e-4)
        # An image whose visual prefix is hidden speaks only through its own place among the sentences.
        pixels = processor(images=random_pictures(2), emotion_models="mikels8")["pixel_values"]
        pooled = model.get_image_features(pixels).pooled
        hidden = model(**text, pixel_values=pixels, visual_mask=torch.zeros(2)).logits
        torch.testing.assert_close(
            hidden, model(**text, semantic_features=model.semantic_mapping.embed(pooled)).logits
        )
        # A text among images: its row is the text's, and a row without one is the image's own.
        mixed = model(**text, pixel_values=pixels, semantic_features=places * torch.tensor([[1.0], [0.0]])).logits
        own = model(**text, pixel_values=pixels).logits
        torch.testing.assert_close(mixed[1], own[1])
        assert not torch.allclose(mixed[0], own[0], atol=1e-4)
        # Modality dropout is per image.
        partly = model(**text, pixel_values=pixels, visual_mask=torch.tensor([1.0, 0.0])).logits
        torch.testing.assert_close(partly, torch.stack([model(**text, pixel_values=pixels).logits[0], hidden[1]]))


def test_without_a_place_the_semantic_prefix_is_hidden() -> None:
    model, processor = build_ugrie(semantic_size=8)
    text = tensors_of(processor(emotion_models="mikels8", batch_size=1))
    with torch.inference_mode():
        before = model(**text).logits
        model.semantic_mapping.output.bias.normal_()
        assert torch.equal(model(**text).logits, before)
        place = nn.functional.normalize(torch.ones(1, 8), dim=-1)
        expected = model.semantic_mapping.output(torch.ones(1, 8)).view(1, 4, 32)  # unit vectors times sqrt(8)
        torch.testing.assert_close(model.semantic_mapping(place), expected)


def test_queries_of_the_transformer_mapping_see_each_other_and_the_image() -> None:
    model, _ = build_ugrie(mapping_type="transformer", mapping_heads=4)
    tokens = torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = model.mapping(None, tokens)
        assert not torch.allclose(model.mapping(None, tokens * torch.rand(1, 16, 1)), before, atol=1e-4)
        model.mapping.queries[1] += torch.randn(32)
        assert not torch.allclose(model.mapping(None, tokens)[:, 0], before[:, 0], atol=1e-4)


def test_alignment_is_the_cosine_distance_to_the_texts_there_are() -> None:
    model, processor = build_ugrie(semantic_size=8, alignment_weight=0.5)
    distribution = EmotionModel.from_labels(["joy", "fear"]).distribution("joy")
    own = EmotionModel.from_labels(["joy", "fear"])
    batch = processor(images=random_pictures(3), emotion_models=own, distributions=[distribution] * 3)
    batch = tensors_of(batch)
    texts = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    texts[1] = 0
    with torch.inference_mode():
        plain, aligned = model(**batch).loss, model(**batch, text_features=texts).loss
        places = model.semantic_mapping.embed(model.get_image_features(batch["pixel_values"]).pooled)
        distance = 1 - (places * nn.functional.normalize(texts, dim=-1)).sum(-1)
        torch.testing.assert_close(aligned - plain, 0.5 * (distance[0] + distance[2]) / 2)
        torch.testing.assert_close(model(**batch, text_features=torch.zeros(3, 8)).loss, plain)


def test_only_untrained_labels_are_corrected_for_the_words_own_likelihood() -> None:
    from iec_hub.emotions import EMOTION_MODELS

    model, processor = build_ugrie(prior_correction=0.5)
    for name, corrected in (("mikels8", False), ("ekman7", False), ("ekman6", True), ("sentiment2", True)):
        batch = processor(images=random_pictures(2), emotion_models=name)
        with torch.inference_mode():
            logits = model(**tensors_of(batch)).logits
            text = {key: value[:1] for key, value in tensors_of(batch).items() if key in _PER_IMAGE}
            prior = model(**text, candidate_ids=batch["candidate_ids"], **_mask_of(batch)).logits
            result = model.correct_logits(logits, batch, EMOTION_MODELS[name])
        torch.testing.assert_close(result, logits - 0.5 * prior if corrected else logits)
    renamed = EmotionModel("feelings", "these", EMOTION_MODELS["mikels8"].emotions)
    assert model.config.is_trained(renamed)  # the same labels under another name have learned their prior
    model.config.prior_correction = 0
    assert model.correct_logits(logits, batch, EMOTION_MODELS["sentiment2"]) is logits


_PER_IMAGE = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")


def _mask_of(batch: Any) -> dict[str, torch.Tensor]:
    return {"candidate_attention_mask": batch["candidate_attention_mask"]}
