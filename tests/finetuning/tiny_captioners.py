"""Tiny ESCNets whose captioner is a generator, with random weights."""

from typing import Any

import torch

SIDE = 32


def build_captioner_model(tokenizer: Any, kind: str = "blip", **fields: Any) -> tuple[Any, Any]:
    """ESCNet over mikels8 and its processor; `"blip"` shares its tower, `"git"` sits beside one of another size.

    As in the published BLIP, its first token is none that its tokenizer writes, and `eos_token_id` ends nothing.
    """
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    from iec_hub.models.escnet import EscnetConfig, EscnetForImageEmotion, EscnetProcessor

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = size | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "initializer_range": 0.2}
    text |= {"pad_token_id": tokenizer.pad_token_id}
    tower = size | {"patch_size": 8, "initializer_range": 0.2}
    settings: dict[str, Any] = {"text_config": {"model_type": "bert", **text}, "emotion_models": ["mikels8"]}
    settings |= {"fusion_size": 16, "fusion_heads": 2}
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    if kind == "blip":
        ids = {"bos_token_id": tokenizer.mask_token_id, "sep_token_id": end, "eos_token_id": tokenizer.unk_token_id}
        words = text | ids | {"encoder_hidden_size": 32, "projection_dim": 16}
        vision = tower | {"image_size": SIDE}
        captioner: dict[str, Any] = {"vision_config": vision, "text_config": words, "image_text_hidden_size": 16}
        settings["share_vision_tower"] = True
    else:
        captioner = text | {"bos_token_id": begin, "eos_token_id": end, "vision_config": tower | {"image_size": 48}}
        settings["vision_config"] = {"model_type": "clip_vision_model", "image_size": SIDE, **size, "patch_size": 8}
    settings["captioner_config"] = {"model_type": kind, **captioner}
    torch.manual_seed(0)
    model = EscnetForImageEmotion(EscnetConfig(**(settings | fields))).eval()
    images = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return model, EscnetProcessor(images, tokenizer).adopt(model.config)
