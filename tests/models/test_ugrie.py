"""UGRIE as a citizen of transformers, over a transformer tower and a convolutional one."""

import torch
from shared_model_tests import SharedModelTests
from tiny_parts import build_ugrie

from iec_hub.models import UgrieConfig, UgrieForImageEmotion, UgrieProcessor


class UgrieTests(SharedModelTests):
    model_class, config_class, processor_class = UgrieForImageEmotion, UgrieConfig, UgrieProcessor
    fields: dict = {}

    def build(self, **fields: object) -> tuple[UgrieForImageEmotion, UgrieProcessor]:
        return build_ugrie(**(self.fields | fields))


class TestClipWithMlpMapping(UgrieTests):
    fields = {"semantic_size": 8, "feature_norm": "power"}
    missing = {
        r"^mapping\.": None,
        r"^semantic_mapping\.input\.": None,
        r"^feature_norm\.mean$": 0.0,
        r"^feature_norm\.scale$": 1.0,
        r"final_logits_bias$": 0.0,
        r"^vision_model\.pre_layrnorm\.weight$": 1.0,
        r"^language_model\.model\.decoder\.layers\.1\.": None,
    }


class TestEfficientNetWithTransformerMapping(UgrieTests):
    fields = {"tower": "efficientnet", "mapping_type": "transformer", "mapping_heads": 4}
    missing = {
        r"^mapping\.queries$": None,
        r"^mapping\.layers\.0\.attention_norm\.weight$": 1.0,
        r"^mapping\.layers\.1\.q_proj\.bias$": 0.0,
        r"running_mean$": 0.0,
        r"running_var$": 1.0,
    }


def test_lora_reaches_the_vision_towers_that_the_pattern_names() -> None:
    import re

    pattern = UgrieForImageEmotion.lora_targets["vision"]
    language = UgrieForImageEmotion.lora_targets["language"]
    for tower in ("clip", "vit", "dinov2_registers", "siglip", "swin", "convnext", "efficientnet"):
        model, _ = build_ugrie(tower=tower)
        names = [
            name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        ]
        hit = [name for name in names if re.fullmatch(pattern, name)]
        assert hit and all(name.startswith("vision_model.") for name in hit), tower
        assert not any(".head." in name or "mapping" in name for name in hit), tower
        assert not any(
            name.startswith(("vision_model.", "mapping.")) for name in names if re.fullmatch(language, name)
        )


def test_lora_on_both_parts_trains_without_moving_frozen_statistics() -> None:
    from peft import LoraConfig, get_peft_model

    model, processor = build_ugrie(tower="efficientnet")
    pattern = "|".join(model.lora_targets.values())
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=pattern, modules_to_save=["mapping"]))
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    batch = TestClipWithMlpMapping().batch(processor, labels=True)
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    adapted.train()
    for _ in range(2):
        adapted(**batch).loss.backward()
        optimizer.step()
    moved = {name for name, tensor in adapted.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any(".vision_model." in name for name in moved) and any(".language_model." in name for name in moved)
    assert all("lora_" in name or "modules_to_save" in name for name in moved)
