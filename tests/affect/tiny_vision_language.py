"""Tiny vision-language models of three families with random weights, with their processors and chat templates."""

from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

FAMILIES = ("llava", "smolvlm", "qwen2_5_vl")
SIDE = 32
_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
_TEXT |= {"num_key_value_heads": 2, "max_position_embeddings": 4096, "initializer_range": 0.3}

_LLAVA = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'USER: ' }}{% else %}{{ 'ASSISTANT: ' }}"
    "{% endif %}{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}"
    "{% endfor %}{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}"
    "{% endfor %}{% if message['role'] != 'user' %}{{ '</s>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
_SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_QWEN = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = {
    "llava": ["<s>", "<pad>", "</s>", "<unk>", "<image>"],
    "smolvlm": ["<|im_start|>", "<pad>", "<end_of_utterance>", "<unk>", "<image>", "<fake_token_around_image>"]
    + ["<global-img>", *(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2))],
    "qwen2_5_vl": ["<|im_start|>", "<|endoftext|>", "<|im_end|>", "<unk>", "<|vision_start|>", "<|vision_end|>"]
    + ["<|image_pad|>", "<|video_pad|>"],
}


def chat_tokenizer(family: str) -> Any:
    """A byte-level tokenizer with the family's special tokens and few merges: any text comes back from its ids."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = _SPECIAL[family]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(["the picture shows people", "what do you see"], trainer)
    start, pad, end, unknown = special[:4]
    tokens = {"bos_token": start, "pad_token": pad, "eos_token": end, "unk_token": unknown}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)


def build_vision_language(family: str) -> tuple[Any, Any]:
    """A model in evaluation mode, with the same random weights each time, and its processor."""
    tokenizer = chat_tokenizer(family)
    torch.manual_seed(0)
    return {"llava": _llava, "smolvlm": _smolvlm, "qwen2_5_vl": _qwen}[family](tokenizer)


def _ids(tokenizer: Any) -> dict[str, int]:
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}


def _llava(tokenizer: Any) -> tuple[Any, Any]:
    vision = {"model_type": "clip_vision_model", "image_size": SIDE, "patch_size": 8, "hidden_size": 64}
    vision |= {"intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_factor": 3.0}
    text = {"model_type": "llama", "vocab_size": len(tokenizer), **_TEXT, **_ids(tokenizer)}
    token = tokenizer.convert_tokens_to_ids("<image>")
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_id=token)
    side = {"height": SIDE, "width": SIDE}
    images = transformers.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=side)
    processor = transformers.LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=_LLAVA,
        num_additional_image_tokens=1,
    )
    return transformers.LlavaForConditionalGeneration(config).eval(), processor


def _smolvlm(tokenizer: Any) -> tuple[Any, Any]:
    vision = {"image_size": SIDE, "patch_size": 8, "hidden_size": 64, "intermediate_size": 128}
    vision |= {"num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3}
    text = {"model_type": "llama", "vocab_size": len(tokenizer), **_TEXT, **_ids(tokenizer)}
    token = tokenizer.convert_tokens_to_ids("<image>")
    config = transformers.SmolVLMConfig(
        vision_config=vision, text_config=text, image_token_id=token, scale_factor=2, **_ids(tokenizer)
    )
    images = transformers.SmolVLMImageProcessorPil(
        size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
    )
    # SmolVLM's own processor needs torchvision for its videos.
    processor = transformers.Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=_SMOLVLM)
    return transformers.SmolVLMForConditionalGeneration(config).eval(), processor


def _qwen(tokenizer: Any) -> tuple[Any, Any]:
    from iec_hub.affect.vision_language_loading import still_image_processor

    vision = {"depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "out_hidden_size": 64}
    vision |= {"patch_size": 8, "window_size": 32, "fullatt_block_indexes": [1], "initializer_range": 0.3}
    rope = {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0}
    text = {"vocab_size": len(tokenizer), **_TEXT, "rope_parameters": rope, **_ids(tokenizer)}
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    names |= {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    config = transformers.Qwen2_5_VLConfig(vision_config=vision, text_config=text, **ids)
    images = transformers.Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, min_pixels=SIDE * SIDE, max_pixels=2 * SIDE * SIDE
    )
    processor = still_image_processor(transformers.Qwen2_5_VLProcessor)(images, tokenizer, chat_template=_QWEN)
    return transformers.Qwen2_5_VLForConditionalGeneration(config).eval(), processor
