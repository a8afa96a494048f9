"""QLoRA steps of the full-size presets on a CUDA GPU: pictures or tokens per second and peak memory.

    python benchmarks/gpu_qlora.py                      # base and large of all three methods, and ACIEC's reasoner
    python benchmarks/gpu_qlora.py ugrie-large --batch-size 32

Random weights, built from the presets' configurations: nothing is downloaded. Frozen weights are in NF4 with double
quantisation, adapters of rank 8 on everything that LoRA can adapt, what starts at random in a preset is trained in
full, with activation checkpointing, bfloat16 and a paged 8-bit AdamW, as docs/fine-tuning.md advises. Pictures lie on
the GPU before the clock starts. ACIEC's step has the reasoner of `aciec-large`, a 7 B-class vision-language model in
4-bit, in memory beside it, as its training does; `reasoner-7b` trains an adapter of that model itself.

Each row runs in a process of its own; one that fails is reported with its error. Writes `results/gpu_qlora.json`.
Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import machine
import presets
import torch

ROWS = ("ugrie-base", "ugrie-large", "escnet-base", "escnet-large", "aciec-base", "aciec-large", "reasoner-7b")
LIMIT_GIB = 24  # what the presets are held to
STEPS, WARMUP = 10, 3
BATCH_SIZES = {"reasoner": 1}
BATCH_SIZE = 16
SIDE, TEXT_TOKENS = 448, 512  # of a picture for the reasoner, in pixels, and of what is said about it
# Qwen/Qwen2.5-VL-7B-Instruct's sizes, which are the reasoner of the preset aciec-large.
REASONER = {
    "text_config": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1000000.0},
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
}
ADAPTED = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"


def adapted(model: Any, processor: Any, device: torch.device) -> Any:
    """A model with frozen weights in 4-bit and an adapter, by the package's own functions, ready to be trained."""
    from iec_hub.finetuning.adapters import AdapterArguments, add_adapter
    from iec_hub.finetuning.quantization import quantized

    arguments = AdapterArguments(lora=True, lora_targets=["all"], quantization="4bit")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        smaller = quantized(model, processor, "4bit", dtype, folder)
    return add_adapter(smaller, arguments, fresh=True, gradient_checkpointing=True).train()


def picture_batch(model: Any, processor: Any, device: torch.device, size: int) -> dict[str, Any]:
    """Photographs with labels, repeated to a batch of `size`, and what the method says about them itself."""
    from PIL import Image
    from transformers import BatchFeature

    from iec_hub.models.image_emotion import forward_inputs

    there = sorted(presets.PICTURES.glob("*.jpg"))
    files = [there[number % len(there)] for number in range(size)]
    captions = {"captions": presets.human_captions(files)} if model.reads_captions else {}
    emotion_model = next(iter(model.config.trained_emotion_models.values()))
    targets = [emotion_model.distribution(emotion_model.labels[n % len(emotion_model)]) for n in range(size)]
    images = [Image.open(file).convert("RGB") for file in files]
    batch = processor(images=images, emotion_models=emotion_model, distributions=targets, **captions)
    batch = BatchFeature(batch).to(device)
    if not captions:
        with torch.no_grad():
            batch = model.eval().gather(batch, processor)
        model.train()
    return forward_inputs(batch)


def optimizer_of(model: Any, device: torch.device) -> torch.optim.Optimizer:
    """The paged 8-bit AdamW on a GPU, which is where it exists; else AdamW."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if device.type != "cuda":
        return torch.optim.AdamW(trained, lr=1e-3)
    from bitsandbytes.optim import PagedAdamW8bit

    return PagedAdamW8bit(trained, lr=1e-3)


def train_step(model: Any, batch: dict[str, Any], optimizer: torch.optim.Optimizer, device: torch.device) -> float:
    """Forward, backward, optimiser; returns the loss.

    Raises:
        RuntimeError: if the loss is not a finite number.
    """
    half = torch.autocast(device.type, torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()
    with half:
        loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    value = loss.item()
    if not torch.isfinite(loss):
        raise RuntimeError(f"The loss is {value}.")
    return value


def random_reasoner(fields: dict[str, Any], device: torch.device) -> Any:
    """A vision-language model of these sizes with random weights, its language part's layers in NF4."""
    import bitsandbytes
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**fields))
    finally:
        torch.set_default_dtype(torch.float32)
    model.requires_grad_(False)
    found = [(name, part) for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    for name, layer in found:
        if "language_model" not in name:  # the output layer and the tower stay whole, as in transformers' own way
            continue
        small = bitsandbytes.nn.Linear4bit(
            layer.in_features, layer.out_features, layer.bias is not None, compute_dtype=dtype, quant_type="nf4"
        )
        small.load_state_dict(layer.state_dict())
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, small.to(device))  # moving is what quantises
    return model


def reasoner_batch(fields: dict[str, Any], device: torch.device, size: int, side: int, tokens: int) -> dict[str, Any]:
    """Random pixels of `side` and `tokens` random tokens behind each picture; the loss is over these."""
    from transformers import Qwen2_5_VLConfig

    config = Qwen2_5_VLConfig(**fields)
    vision = config.vision_config
    grid, merged = side // vision.patch_size, vision.spatial_merge_size**2
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    special = min(config.image_token_id, config.video_token_id, config.vision_start_token_id)
    said = torch.randint(special, (size, tokens), device=device)
    picture = torch.full((size, grid * grid // merged), config.image_token_id, device=device)
    start, end = (
        torch.full((size, 1), token, device=device)
        for token in (config.vision_start_token_id, config.vision_end_token_id)
    )
    seen = torch.cat([start, picture, end], dim=1)
    ids = torch.cat([seen, said], dim=1)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == config.image_token_id).int(),
        "pixel_values": torch.randn(size * grid * grid, width, device=device),
        "image_grid_thw": torch.tensor([[1, grid, grid]] * size, device=device),
        "labels": torch.cat([torch.full_like(seen, -100), said], dim=1),
    }


def adapted_reasoner(model: Any) -> Any:
    """The reasoner with an adapter of rank 8 on its language part."""
    from peft import LoraConfig, get_peft_model

    model.gradient_checkpointing_enable({"use_reentrant": False})
    return get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=ADAPTED)).train()


def timed(step: Callable[[], float], steps: int, warmup: int, device: torch.device) -> tuple[float, float]:
    """Seconds of a step, the mean of `steps` behind `warmup` others, and the last loss."""
    for _ in range(warmup):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    for _ in range(steps):
        loss = step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / steps, loss


def preset_row(name: str, device: torch.device, size: int) -> dict[str, Any]:
    """Measure one preset."""
    from iec_hub.finetuning.parameter_table import parameter_table
    from iec_hub.models import AciecForImageEmotion, EscnetForImageEmotion, UgrieForImageEmotion

    kinds = {"ugrie": UgrieForImageEmotion, "escnet": EscnetForImageEmotion, "aciec": AciecForImageEmotion}
    method, preset = name.split("-")
    model = kinds[method].from_preset(preset, pretrained=False, emotion_models=["mikels8"])
    processor = presets.build_processor(model)
    trained = adapted(model, processor, device)
    del model
    batch = picture_batch(trained.get_base_model(), processor, device, size)
    beside = random_reasoner(REASONER, device) if name == "aciec-large" else None
    row = measured_row(trained, batch, device)
    row |= {"images_per_second": size / row["step_seconds"], **table_figures(parameter_table(trained))}
    return row | {"reasoner_in_memory": beside is not None}


def reasoner_row(device: torch.device, size: int) -> dict[str, Any]:
    """Measure an adapter of the reasoner itself."""
    from iec_hub.finetuning.parameter_table import parameter_table

    model = adapted_reasoner(random_reasoner(REASONER, device))
    batch = reasoner_batch(REASONER, device, size, SIDE, TEXT_TOKENS)
    row = measured_row(model, batch, device)
    tokens = batch["input_ids"].numel()
    return (
        row
        | {"tokens": tokens, "tokens_per_second": tokens / row["step_seconds"]}
        | table_figures(parameter_table(model))
    )


def measured_row(model: Any, batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Seconds of a step and the most memory that steps took; building, which needs more, is over by then."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    optimizer = optimizer_of(model, device)
    seconds, loss = timed(lambda: train_step(model, batch, optimizer, device), STEPS, WARMUP, device)
    peak = torch.cuda.max_memory_reserved(device) / 2**30
    return {"step_seconds": seconds, "loss": loss, "peak_gib": peak, "within_limit": peak <= LIMIT_GIB}


def table_figures(table: Any) -> dict[str, Any]:
    """How many parameters there are, and how many of them are trained and in 4-bit."""
    total = table.total
    return {"parameters": total.trained + total.frozen, "trained": total.trained, "four_bit": total.four_bit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"some of {', '.join(ROWS)}; all if left out")
    parser.add_argument("--batch-size", type=int, help=f"pictures in a step; {BATCH_SIZE}, and 1 for the reasoner")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # what a child process does
    given = parser.parse_args()
    unknown = sorted(set(given.rows) - set(ROWS))
    if unknown:
        parser.error(f"there is no {unknown[0]!r}; use {', '.join(ROWS)}")
    if not torch.cuda.is_available():
        print("There is no CUDA GPU here, so nothing was measured.")
        return
    if given.alone:
        (name,) = given.rows
        device, size = torch.device("cuda"), given.batch_size or BATCH_SIZES.get(name.split("-")[0], BATCH_SIZE)
        torch.manual_seed(0)
        row = reasoner_row(device, size) if name == "reasoner-7b" else preset_row(name, device, size)
        print(json.dumps({"row": name, "batch_size": size, **row}))
        return
    rows = [_alone(name, given.batch_size) for name in given.rows or ROWS]
    result = {
        "command": " ".join(["python benchmarks/gpu_qlora.py", *sys.argv[1:]]),
        "weights": "random; NF4 with double quantisation, adapters of rank 8",
        "steps": STEPS, "warmup": WARMUP, "limit_gib": LIMIT_GIB, "seed": 0, "machine": machine.facts(), "rows": rows,
    }  # fmt: skip
    machine.RESULTS.mkdir(exist_ok=True)
    (machine.RESULTS / "gpu_qlora.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=2))


def _alone(name: str, batch_size: int | None) -> dict[str, Any]:
    further = ["--batch-size", str(batch_size)] if batch_size else []
    command = [sys.executable, __file__, name, "--alone", *further]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"row": name, "error": last[:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
