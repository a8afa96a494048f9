"""What ESCNet's fusion computes, against slow literal implementations, and what must not matter to it."""

import math
from typing import Any

import pytest
import torch
from tiny_parts import attribute_captioner_config, build_escnet, random_pictures, tensors_of
from torch import nn

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.models import EscnetForImageEmotion, EscnetProcessor
from iec_hub.models.escnet.fusion_escnet import CaptionFusion, CrossAttention, WordGate

CAPTIONS = ("A dog.", "An old man makes people feel fear and sadness.", "A colourful street, which is a joy.")
ABLATIONS = ("use_captions", "use_word_gate", "use_self_attention")
PARTS_OF = {
    "use_captions": r"text_encoder. fusion.text_input. fusion.words_to_image. fusion.image_to_words. fusion.gate.",
    "use_word_gate": "fusion.gate.",
    "use_self_attention": "fusion.layers.",
}


@pytest.fixture(scope="module")
def parts() -> tuple[EscnetForImageEmotion, EscnetProcessor]:
    return build_escnet()


def inputs(processor: EscnetProcessor, captions: Any = CAPTIONS, **fields: Any) -> dict[str, torch.Tensor]:
    given = {} if captions is None else {"captions": list(captions)}
    batch = processor(images=random_pictures(3), emotion_models="mikels8", **given, **fields)
    return tensors_of(batch)


def logits(model: EscnetForImageEmotion, batch: dict[str, Any]) -> torch.Tensor:
    with torch.inference_mode():
        return model(**batch).logits


def literal_attention(
    attention: CrossAttention, queries: torch.Tensor, keys: torch.Tensor, present: list[bool], gates: list[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """`softmax(Q K^T / sqrt d) V`, head by head and query by query, with the key that stands for nowhere."""
    size = queries.shape[1] // attention.heads
    q = attention.q_proj(attention.query_norm(queries))
    k, v = (layer(attention.key_norm(keys)) for layer in (attention.k_proj, attention.v_proj))
    found, looked = torch.zeros_like(queries), torch.zeros(len(queries), len(keys))
    for head in range(attention.heads):
        part = slice(head * size, head * size + size)
        for row in range(len(queries)):
            nowhere = float(q[row, part] @ attention.nowhere[head, 0]) / math.sqrt(size)
            scores = [float(q[row, part] @ k[n, part]) / math.sqrt(size) for n in range(len(keys))]
            total = math.exp(nowhere) + sum(math.exp(s) for s, there in zip(scores, present, strict=True) if there)
            for n, (score, there) in enumerate(zip(scores, present, strict=True)):
                share = math.exp(score) / total if there else 0.0
                found[row, part] += share * gates[n] * v[n, part]
                looked[row, n] += share / attention.heads
    return attention.out_proj(found), looked


def test_cross_attention_equals_the_literal_one() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(8, 2)
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    queries, keys = torch.randn(2, 4, 8), torch.randn(2, 5, 8)
    present = torch.tensor([[True] * 5, [True, True, False, True, False]])
    gates = torch.rand(2, 5)
    with torch.inference_mode():
        found, looked = attention(queries, keys, present, gates)
        for row in range(2):
            expected = literal_attention(
                attention, queries[row], keys[row], present[row].tolist(), gates[row].tolist()
            )
            torch.testing.assert_close(found[row], expected[0])
            torch.testing.assert_close(looked[row], expected[1])
    assert (looked.sum(-1) < 1 + 1e-6).all() and (looked.sum(-1) < 0.99).any() and (looked >= 0).all()
    assert not looked[1, :, [2, 4]].any()


def test_without_any_key_nothing_is_found() -> None:
    attention = CrossAttention(8, 2)
    with torch.inference_mode():
        found, looked = attention(torch.randn(1, 3, 8), torch.randn(1, 4, 8), torch.zeros(1, 4, dtype=torch.bool))
    torch.testing.assert_close(found, attention.out_proj.bias.expand(1, 3, 8))
    assert not looked.any()


def test_caption_related_visual_features_are_gated_word_by_word() -> None:
    """The states that leave the fusion's first half: tokens with what they found, times their gates."""
    model, processor = build_escnet(use_self_attention=False)
    fusion, batch = model.fusion, inputs(processor)
    with torch.inference_mode():
        features = model.get_image_features(batch["pixel_values"])
        words, ids, mask = model._read(batch["caption_ids"], batch["caption_attention_mask"], 3, torch.float32, "cpu")
        output = fusion(features.pooled, features.tokens, torch.ones(3), words, ids, mask)
        image = fusion.image_norm(fusion.image_input(features.tokens))
        text = fusion.text_norm(fusion.text_input(words))
        for row in range(3):
            n = int(mask[row].sum())
            gates = [
                float(torch.sigmoid(fusion.gate.context(words[row, i])[0] + fusion.gate.lexicon[ids[row, i]]))
                for i in range(n)
            ]
            torch.testing.assert_close(output.word_gates[row, :n], torch.tensor(gates))
            found, looked = literal_attention(
                fusion.words_to_image, text[row, :n], image[row], [True] * 16, [1.0] * 16
            )
            told, _ = literal_attention(fusion.image_to_words, image[row], text[row, :n], [True] * n, gates)
            torch.testing.assert_close(output.word_attention[row, :n], looked, atol=1e-5, rtol=1e-4)
            said = sum(gates[i] * (text[row, i] + gates[i] * found[i]) for i in range(n)) / sum(gates)
            whole = fusion.whole_norm(fusion.whole_input(features.pooled[row]))
            expected = torch.cat([whole, said, (image[row] + told).mean(0)])
            torch.testing.assert_close(output.fused[row], expected, atol=1e-5, rtol=1e-4)


def fused(fusion: CaptionFusion, image: torch.Tensor, words: torch.Tensor, ids: torch.Tensor) -> Any:
    with torch.inference_mode():
        return fusion(image.mean(1), image, torch.ones(1), words, ids, torch.ones_like(ids))


def test_a_closed_gate_removes_what_a_word_sees_and_says() -> None:
    model, _ = build_escnet(use_self_attention=False)
    fusion = model.fusion
    generator = torch.Generator().manual_seed(3)
    image, words = torch.randn(1, 16, 32, generator=generator), torch.randn(1, 4, 32, generator=generator)
    ids = torch.tensor([[10, 11, 12, 13]])
    open_gate = fused(fusion, image, words, ids)
    assert (open_gate.word_gates > 0).all()
    fusion.gate.lexicon[12] = -1e4
    closed = fused(fusion, image, words, ids)
    assert closed.word_gates[0, 2] == 0 and torch.equal(closed.word_gates[0, :2], open_gate.word_gates[0, :2])
    assert not torch.allclose(closed.fused, open_gate.fused, atol=1e-4)
    # Once all are closed, it does not even matter what attention adds by its biases.
    for layer in (fusion.words_to_image.q_proj, fusion.words_to_image.out_proj):
        nn.init.normal_(layer.bias)
    fusion.gate.lexicon[[10, 11, 13]] = -1e4
    silent = fused(fusion, image, words, ids)
    assert not silent.word_gates.any()
    size = fusion.config.fusion_size
    assert not silent.fused[:, size : 2 * size].any()
    without = silent.fused[:, 2 * size :]
    told = fusion.image_to_words.out_proj.bias
    expected = (fusion.image_norm(fusion.image_input(image)) + told).mean(1)
    torch.testing.assert_close(without, expected)


def test_the_lexicon_charges_words_and_the_context_too() -> None:
    torch.manual_seed(0)
    gate = WordGate(8, 20)
    nn.init.normal_(gate.context.weight)
    hidden, ids = torch.randn(2, 3, 8), torch.tensor([[1, 2, 3], [3, 2, 1]])
    plain = gate(hidden, ids)
    gate.lexicon[3] = 4.0
    charged = gate(hidden, ids)
    assert charged[0, 2] > plain[0, 2] and charged[1, 0] > plain[1, 0]
    assert torch.equal(charged[:, 1], plain[:, 1])
    torch.testing.assert_close(torch.logit(charged[0, 2]) - torch.logit(plain[0, 2]), torch.tensor(4.0))
    assert "lexicon" in gate.state_dict() and "lexicon" not in dict(gate.named_parameters())


def test_padding_changes_nothing(parts: tuple[EscnetForImageEmotion, EscnetProcessor]) -> None:
    model, processor = parts
    batch = inputs(processor)
    together = logits(model, batch)
    for row in range(3):
        alone = {name: tensor[row : row + 1] for name, tensor in batch.items() if name != "candidate_ids"}
        kept = int(batch["caption_attention_mask"][row].sum())
        alone["caption_ids"], alone["caption_attention_mask"] = (
            batch[name][row : row + 1, :kept] for name in ("caption_ids", "caption_attention_mask")
        )
        alone["candidate_ids"] = batch["candidate_ids"]
        torch.testing.assert_close(logits(model, alone)[0], together[row], atol=1e-5, rtol=1e-4)
    padded = {**batch, "caption_ids": batch["caption_ids"].where(batch["caption_attention_mask"].bool(), 7)}
    torch.testing.assert_close(logits(model, padded), together, atol=1e-5, rtol=1e-4)


def test_a_hidden_image_does_not_matter_and_a_seen_one_does(
    parts: tuple[EscnetForImageEmotion, EscnetProcessor],
) -> None:
    model, processor = parts
    batch = inputs(processor)
    other = {**batch, "pixel_values": batch["pixel_values"].flip(0)}
    assert not torch.allclose(logits(model, batch), logits(model, other), atol=1e-3)
    hidden = {"visual_mask": torch.zeros(3)}
    assert torch.equal(logits(model, batch | hidden), logits(model, other | hidden))
    alone = {name: tensor for name, tensor in batch.items() if name != "pixel_values"}
    torch.testing.assert_close(logits(model, alone), logits(model, batch | hidden))
    one = logits(model, batch | {"visual_mask": torch.tensor([1.0, 0.0, 1.0])})
    torch.testing.assert_close(one[[0, 2]], logits(model, batch)[[0, 2]])
    torch.testing.assert_close(one[1], logits(model, alone)[1])


def test_the_caption_matters_and_a_blank_one_is_none(parts: tuple[EscnetForImageEmotion, EscnetProcessor]) -> None:
    model, processor = parts
    told, swapped, none = (logits(model, inputs(processor, captions)) for captions in (CAPTIONS, CAPTIONS[::-1], None))
    assert not torch.allclose(told, swapped, atol=1e-3) and not torch.allclose(told, none, atol=1e-3)
    blank = logits(model, inputs(processor, ("", "  ", "\t\n")))
    torch.testing.assert_close(blank, none)
    mixed = logits(model, inputs(processor, (CAPTIONS[0], "", CAPTIONS[2])))
    torch.testing.assert_close(mixed[[0, 2]], told[[0, 2]], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mixed[1], none[1])


def test_nothing_to_see_and_nothing_to_read_still_trains() -> None:
    """Modality dropout may hide the image of a caption that is blank."""
    model, processor = build_escnet()
    batch = inputs(processor, ("", CAPTIONS[1], ""), distributions=[EMOTION_MODELS["mikels8"].distribution("awe")] * 3)
    model.train()
    output = model(**batch, visual_mask=torch.tensor([0.0, 0.0, 1.0]))
    output.loss.backward()
    assert output.loss.isfinite() and output.logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_cached_features_give_the_same_logits(parts: tuple[EscnetForImageEmotion, EscnetProcessor]) -> None:
    model, processor = parts
    batch = inputs(processor)
    expected = logits(model, batch)
    features = model.get_image_features(batch.pop("pixel_values"))
    cached = {"pooled_features": features.pooled, "token_features": features.tokens}
    assert torch.equal(logits(model, batch | cached), expected)
    with pytest.raises(DataError, match=r"^ESCNet reads the places of an image; give token_features .*\.$"):
        model(**batch, pooled_features=features.pooled)


def test_neither_images_nor_captions_is_one_sentence(parts: tuple[EscnetForImageEmotion, EscnetProcessor]) -> None:
    model, processor = parts
    with pytest.raises(DataError, match=r"^ESCNet was given neither images nor captions that it reads; [^\n]*\.$"):
        model(candidate_ids=torch.arange(8))
    blind, processor = build_escnet(use_captions=False)
    with pytest.raises(DataError, match=r"^ESCNet was given neither images nor captions that it reads; [^\n]*\.$"):
        blind(**processor.caption_tensors(CAPTIONS))


@pytest.mark.parametrize("switch", ABLATIONS)
def test_an_ablation_removes_its_parameters_and_still_trains(switch: str, tmp_path: Any) -> None:
    whole, _ = build_escnet(captioner=attribute_captioner_config())
    model, processor = build_escnet(captioner=attribute_captioner_config(), **{switch: False})
    gone = set(whole.state_dict()) - set(model.state_dict())
    assert gone and all(name.startswith(tuple(PARTS_OF[switch].split())) or "text_norm" in name for name in gone)
    assert not set(model.state_dict()) - set(whole.state_dict())
    assert not any(name.startswith(tuple(PARTS_OF[switch].split())) for name in model.state_dict())
    batch = inputs(
        processor, distributions=[EMOTION_MODELS["mikels8"].distribution(n) for n in ("awe", "fear", "awe")]
    )
    before = logits(model, batch)
    model.train()
    model.gradient_checkpointing_enable()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        torch.manual_seed(0)
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = logits(model.eval(), batch)
    assert not torch.allclose(after, before)
    gates = model(**batch).word_gates
    if switch == "use_captions":
        assert gates is None and torch.equal(after, logits(model, inputs(processor, CAPTIONS[::-1])))
        assert model.gather(processor(images=random_pictures(1)), processor)["captions"] == [None]
    elif switch == "use_word_gate":
        assert torch.equal(gates, batch["caption_attention_mask"].to(gates))
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(EscnetForImageEmotion.from_pretrained(tmp_path), batch), after)


def test_a_new_classifier_keeps_the_columns_that_are_still_asked_for() -> None:
    model, processor = build_escnet(temperatures={"mikels8": 2.0, "ekman7": 3.0})
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = logits(model, inputs(processor))
    columns = dict(model.config.label_columns)
    model.set_emotion_models(["plutchik8", "ekman7", "mikels8"])
    processor.adopt(model.config)
    assert list(model.config.trained_emotion_models) == ["plutchik8", "ekman7", "mikels8"]
    assert model.config.temperatures == {"mikels8": 2.0, "ekman7": 3.0}
    for name in ("ekman7", "mikels8"):
        kept = model.config.label_columns[name]
        assert torch.equal(model.classifier.weight[kept], expected["classifier.weight"][columns[name]])
        assert torch.equal(model.classifier.bias[kept], expected["classifier.bias"][columns[name]])
        assert torch.equal(model.image_classifier.weight[kept], expected["image_classifier.weight"][columns[name]])
    torch.testing.assert_close(logits(model, inputs(processor)), before)
    assert model.classifier.weight[model.config.label_columns["plutchik8"]].std() > 0.05
    others = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(("classifier.", "image_classifier."))
    }
    assert all(torch.equal(tensor, expected[name]) for name, tensor in others.items())
    assert model.classifier.weight.requires_grad and model.classifier.out_features == 23
    model.set_emotion_models(["ekman6"])
    assert model.classifier.out_features == 6 and model.config.temperatures == {}


def test_a_temperature_is_kept_with_its_labels_alone() -> None:
    first = EmotionModel.from_labels(["cosy", "eerie"], name="mine")
    model, _ = build_escnet(emotion_models=[first, "ekman6"], temperatures={"mine": 2.0, "ekman6": 3.0})
    model.set_emotion_models([EmotionModel.from_labels(["cosy", "bleak", "eerie"], name="mine"), "ekman6"])
    assert model.config.temperatures == {"ekman6": 3.0}


def test_candidates_of_an_emotion_model_that_is_mapped(parts: tuple[EscnetForImageEmotion, EscnetProcessor]) -> None:
    model, _ = parts
    assert model.candidates(EMOTION_MODELS["ekman7"]) == slice(8, 15)
    assert model.candidates(EMOTION_MODELS["ekman6"]) == slice(8, 15)
    assert model.candidates(EMOTION_MODELS["sentiment2"]) == slice(15, 17)
    with pytest.raises(DataError, match="cannot tell the labels cosy, eerie"):
        model.candidates(EmotionModel.from_labels(["cosy", "eerie"]))
