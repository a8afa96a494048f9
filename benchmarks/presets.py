"""Do the full-size presets work? Random weights, one training step, one prediction; seconds and peak memory.

    python benchmarks/presets.py base large
    python benchmarks/presets.py base large --four-bit      # with the extra `quantization`
    python benchmarks/presets.py --method escnet base large
    python benchmarks/presets.py --method aciec base large

On the GPU where there is one, else on the CPU. Each preset runs in a process of its own. The pretrained weights and
tokenizers are on the Hub and are not asked for: the tokenizer is a byte-level BPE trained on the README, of the same
kind as BART's but smaller, while the model keeps BART's full vocabulary (ESCNet: RoBERTa's and BERT's; ACIEC:
RoBERTa's).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import machine

PICTURES = machine.ROOT / "tests" / "fixtures" / "coco_cc_by"
BATCH_SIZE = 2
SEED = 0
_TITLES = {"escnet": " of ESCNet", "aciec": " of ACIEC"}
_STANDS_IN = {
    "ugrie": "in place of BART's, which is on the Hub; the model keeps BART's 50,265 embeddings.",
    "escnet": (
        "in place of RoBERTa's and BLIP's, which are on the Hub; the model keeps their 50,265 and 30,524 "
        "embeddings. The step reads human captions and trains everything but the captioner's language part; the "
        "prediction writes its own caption, up to 30 tokens with three beams."
    ),
    "aciec": (
        "in place of RoBERTa's, which is on the Hub; the model keeps its 50,265 embeddings. The step trains the text "
        "classifier on what the model has said about the pictures before; the prediction finds concepts, reasons, "
        "reads text in the picture where the extra `ocr` is installed, and decides. The reasoner is the small one "
        "without an observer: the vision-language model that the preset names is on the Hub too."
    ),
}


def main() -> None:
    from iec_hub.models.aciec import ACIEC_PRESETS
    from iec_hub.models.escnet import ESCNET_PRESETS
    from iec_hub.models.ugrie import UGRIE_PRESETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help="base, large; all if left out")
    parser.add_argument("--method", choices=("ugrie", "escnet", "aciec"), default="ugrie")
    parser.add_argument("--four-bit", action="store_true", help="NF4 weights and a LoRA adapter, with bitsandbytes")
    parser.add_argument("--device", help="such as cpu or cuda:0; left out: the GPU where there is one")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # what a child process does
    given = parser.parse_args()
    presets = {"ugrie": UGRIE_PRESETS, "escnet": ESCNET_PRESETS, "aciec": ACIEC_PRESETS}[given.method]
    unknown = set(given.presets) - set(presets)
    if unknown:
        parser.error(f"there is no preset {min(unknown)!r} of {given.method}; use {', '.join(presets)}")
    if given.alone:
        print(json.dumps(try_preset(given.method, given.presets[0], given.device, given.four_bit)))
        return
    further = ["--method", given.method, *(["--four-bit"] if given.four_bit else [])]
    further += ["--device", given.device] if given.device else []
    rows = [machine.run_alone(__file__, [name, "--alone", *further]) for name in given.presets or presets]
    result = {"method": given.method, "machine": machine.facts(), "batch_size": BATCH_SIZE, "seed": SEED}
    result["presets"] = rows
    name = "presets" if given.method == "ugrie" else f"presets-{given.method}"
    machine.write_results(f"{name}-4bit" if given.four_bit else name, result, table(result))


def build_tokenizer() -> Any:
    """A byte-level BPE with BART's special tokens and their ids, trained on the README and the label words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from iec_hub.emotions import EMOTION_MODELS

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    phrases = [f" {phrase}" for model in EMOTION_MODELS.values() for phrase in (*model.phrases, model.title)]
    backend.train_from_iterator([(machine.ROOT / "README.md").read_text(encoding="utf-8"), *phrases], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


def build_processor(model: Any) -> Any:
    """The image processing of the preset's tower at its size, and the tokenizer above."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from iec_hub.models import AciecProcessor, EscnetProcessor, UgrieProcessor

    side = model.config.vision_config.image_size
    square = {"height": side, "width": side}
    tokenizer = build_tokenizer()
    if len(tokenizer) > model.config.text_config.vocab_size:
        raise RuntimeError("The tokenizer has more tokens than the model has embeddings.")
    if model.config.model_type == "escnet":
        return EscnetProcessor(BlipImageProcessorPil(size=square), tokenizer).adopt(model.config)
    images = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=square)
    kind = {"ugrie": UgrieProcessor, "aciec": AciecProcessor}[model.config.model_type]
    return kind(images, tokenizer).adopt(model.config)


def human_captions(files: Sequence[Path]) -> list[str]:
    """What people wrote about the pictures."""
    with (PICTURES / "metadata.csv").open(encoding="utf-8", newline="") as file:
        told = {row["file_name"]: row["caption"] for row in csv.DictReader(file)}
    return [told[file.name] for file in files]


def in_four_bit(model: Any, device: Any) -> Any:
    """The model's weights in NF4, mapping and norms as they were, with a trainable LoRA adapter on both parts."""
    import torch
    from bitsandbytes import nn as quantised
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    if device.type == "cpu":
        # On processors with AVX512-BF16 a forward pass without gradients repacks the weights, and training then fails.
        quantised.modules.has_avx512bf16 = lambda: False
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
    )
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        loaded = type(model).from_pretrained(folder, quantization_config=settings, device_map={"": device})
    loaded = prepare_model_for_kbit_training(
        loaded, use_gradient_checkpointing=False, gradient_checkpointing_kwargs={"use_reentrant": False}
    )
    targets = "|".join(f"(?:{pattern})" for pattern in loaded.lora_targets.values())
    adapter = LoraConfig(r=8, target_modules=targets, modules_to_save=list(loaded.modules_to_save))
    return get_peft_model(loaded, adapter)


def try_preset(method: str, name: str, device: str | None, four_bit: bool) -> dict[str, Any]:
    """Build, train one step on two pictures, predict one."""
    import torch
    from PIL import Image
    from transformers import BatchFeature

    from iec_hub.models import AciecForImageEmotion, EscnetForImageEmotion, UgrieForImageEmotion
    from iec_hub.models.image_emotion import forward_inputs
    from iec_hub.predictor import EmotionPredictor

    kinds = {"ugrie": UgrieForImageEmotion, "escnet": EscnetForImageEmotion, "aciec": AciecForImageEmotion}
    torch.manual_seed(SEED)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    clock = _Clock(place)
    model = kinds[method].from_preset(name, pretrained=False, emotion_models=["mikels8", "ekman7"])
    processor = build_processor(model)
    count = sum(parameter.numel() for parameter in model.parameters())
    model = in_four_bit(model, place) if four_bit else model.to(place)
    built = clock.lap()

    files = sorted(PICTURES.glob("*.jpg"))[:BATCH_SIZE]
    pictures = [Image.open(file).convert("RGB") for file in files]
    captions = {"captions": human_captions(files)} if model.reads_captions else {}
    models = [model.config.trained_emotion_models[key] for key in ("mikels8", "ekman7")]
    targets = [emotions.distribution(emotions.labels[0]) for emotions in models]
    batch = BatchFeature(processor(images=pictures, emotion_models=models, distributions=targets, **captions))
    batch = batch.to(place)
    if not captions:  # what the method says about the pictures itself, before the step
        with torch.no_grad():
            batch = model.eval().gather(batch, processor)
    batch = forward_inputs(batch)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    clock.lap()
    loss = model(**batch).loss
    loss.backward()
    reached = sum(parameter.numel() for parameter in trained if parameter.grad is not None)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    step = clock.lap()

    model.eval()
    bare = model.get_base_model() if four_bit else model
    prediction = EmotionPredictor(bare, processor, f"random {name}").predict(pictures[:1], emotion_model="mikels8")[0]
    predicted = clock.lap()
    if not torch.isfinite(loss):
        raise RuntimeError(f"The loss of {name} is {loss.item()}.")
    return {
        "preset": name,
        "weights": "NF4 + LoRA" if four_bit else str(next(iter(trained)).dtype).removeprefix("torch."),
        "device": "GPU" if place.type == "cuda" else "CPU",
        "parameters": count,
        "trained_parameters": reached,
        "build_seconds": round(built, 2),
        "train_step_seconds": round(step, 2),
        "predict_seconds": round(predicted, 2),
        "loss": round(loss.item(), 4),
        "labels": len(prediction.labels),
        "caption": prediction.captions[0] if prediction.captions else None,
        "probability_sum": round(sum(prediction.probabilities), 6),
        "peak_memory_mib": round(machine.peak_memory_mib()),
        "peak_gpu_memory_mib": round(torch.cuda.max_memory_allocated(place) / 2**20) if place.type == "cuda" else None,
    }


class _Clock:
    """Seconds since the last lap, after the GPU has done what it was told."""

    def __init__(self, device: Any):
        self.device, self.start = device, time.perf_counter()

    def lap(self) -> float:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        elapsed, self.start = now - self.start, now
        return elapsed


def table(result: dict[str, Any]) -> str:
    """The Markdown of `results/presets.md`."""
    four_bit = any(row["weights"].startswith("NF4") for row in result["presets"])
    command = " ".join(["python benchmarks/presets.py", *(row["preset"] for row in result["presets"])])
    method = result["method"]
    command += f" --method {method}" if method in _TITLES else ""
    lines = [
        f"# The full-size presets{_TITLES.get(method, '')}",
        "",
        f"Random weights, no pretrained ones: one AdamW step on {result['batch_size']} pictures with two emotion",
        "models, then one prediction over eight labels.",
        f"The tokenizer is a byte-level BPE trained on the README (at most 4,000 tokens), {_STANDS_IN[method]}",
        f"Made by `{command}{' --four-bit' if four_bit else ''}`, seed {result['seed']}.",
        "",
        "| preset | weights | device | parameters | trained | build, s | train step, s | predict, s | peak, MiB | "
        "GPU peak, MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    if four_bit:
        lines.insert(2, "NF4 weights with a LoRA adapter; the peak holds the float32 weights that were quantised.")
    for row in result["presets"]:
        figures = [f"{row[key] / 1e6:.1f} M" for key in ("parameters", "trained_parameters")]
        figures += [f"{row[key]:.2f}" for key in ("build_seconds", "train_step_seconds", "predict_seconds")]
        figures += [str(row["peak_memory_mib"]), str(row["peak_gpu_memory_mib"] or "-")]
        lines.append(f"| {row['preset']} | {row['weights']} | {row['device']} | {' | '.join(figures)} |")
    return "\n".join([*lines, "", f"Machine: {machine.facts_line(result['machine'])}.", ""])


if __name__ == "__main__":
    main()
