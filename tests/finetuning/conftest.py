"""Two small data sets of real pictures with made-up labels, tiny backbones with random weights, a sentence encoder."""

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.evaluation import report
from iec_hub.finetuning import pictures as run_pictures

SEMANTIC_SIZE = 16
MIKELS, EKMAN = EMOTION_MODELS["mikels8"], EMOTION_MODELS["ekman7"]
SPLITS = ["train"] * 5 + ["validation"] * 3 + ["test"] * 2


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def whole_reports() -> None:
    """Asked for by tests whose runs report as they do for users."""


@pytest.fixture(autouse=True)
def _short_reports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no pictures and resample 50 times: both take longer than to train such small models.

    What is drawn and resampled is tested where it is made.
    """
    if "whole_reports" not in request.fixturenames:
        monkeypatch.setattr(run_pictures, "draw_pictures", lambda folder: [])
        monkeypatch.setattr(report, "bootstrap_interval", partial(report.bootstrap_interval, resamples=50))


def save_small(picture: Path, path: Path) -> None:
    """A photograph at the size of a thumbnail: to decode it takes a tenth of the time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(picture) as image:
        image.thumbnail((160, 160))
        image.convert("RGB").save(path, quality=92)


@pytest.fixture(scope="session")
def data_folders(pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """`single`, mikels8 by an `emotion` column, and `votes`, ekman7 by vote columns; 20 pictures each, 3 splits."""
    root = tmp_path_factory.mktemp("data")
    rows: dict[str, list[dict[str, Any]]] = {"single": [], "votes": []}
    for i in range(20):
        single, voted, split = pictures[i % len(pictures)], pictures[-1 - i % len(pictures)], SPLITS[i % 10]
        save_small(single, root / "single" / f"{i}.jpg")
        save_small(voted, root / "votes" / f"{i}.jpg")
        rows["single"].append({"file_name": f"{i}.jpg", "split": split, "emotion": MIKELS.labels[i % 5]})
        votes = {label: (i * (j + 2)) % 5 for j, label in enumerate(EKMAN.labels)} | {EKMAN.labels[i % 7]: 6}
        rows["votes"].append({"file_name": f"{i}.jpg", "split": split} | votes)
    for name, table in rows.items():
        write_csv(root / name / "metadata.csv", table)
    return root / "single", root / "votes"


@pytest.fixture(scope="session")
def backbones(build_tiny_ugrie: Callable[..., tuple[Any, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `vision`, `text` and `encoder` as transformers saves them."""
    from transformers import BertConfig, BertModel

    root = tmp_path_factory.mktemp("backbones")
    model, processor = build_tiny_ugrie()
    model.vision_model.save_pretrained(root / "vision")
    processor.image_processor.save_pretrained(root / "vision")
    model.language_model.save_pretrained(root / "text")
    size = {"hidden_size": SEMANTIC_SIZE, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    encoder = BertModel(BertConfig(vocab_size=len(processor.tokenizer), max_position_embeddings=64, **size))
    encoder.save_pretrained(root / "encoder")
    for folder in ("text", "encoder"):
        processor.tokenizer.save_pretrained(root / folder)
    return root


@pytest.fixture(scope="session")
def text_files(data_folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Emotion texts in two versions, and captions of the pictures."""
    root = tmp_path_factory.mktemp("texts")
    words = ("dark", "bright", "old", "calm", "loud")
    texts = [
        {"id": i, "emotion": MIKELS.labels[i % 8], "concepts": f"{words[i % 5]} thing", "other": words[i % 3]}
        for i in range(16)
    ]
    captions = [
        {"file_name": str(data_folders[0] / f"{i}.jpg"), "split": "train", "caption": f"a {words[i % 5]} place {i}"}
        for i in range(10)
    ]
    return write_csv(root / "texts.csv", texts), write_csv(root / "captions.csv", captions)


@pytest.fixture(scope="session")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_text(
        f'{{"prefix_length": 2, "mapping_dropout": 0.2, "semantic_size": {SEMANTIC_SIZE}, "semantic_hidden_size": 16,'
        ' "semantic_prefix_length": 2, "feature_norm": "power", "initializer_range": 0.3}',
        encoding="utf-8",
    )
    return path


@pytest.fixture
def command_line(
    data_folders: tuple[Path, Path], backbones: Path, text_files: tuple[Path, Path], config_file: Path, tmp_path: Path
) -> Callable[..., list[str]]:
    """`command_line(output, **options)`: a small whole run on the CPU; an option of `None` is left out."""

    def build(output: Path, **options: Any) -> list[str]:
        settings: dict[str, Any] = {
            "data": [str(folder) for folder in data_folders],
            "vision": backbones / "vision",
            "text": backbones / "text",
            "config": config_file,
            "output_dir": output,
            "views": 2,
            "text_epochs": 1,
            "texts": text_files[0],
            "captions": text_files[1],
            "sentence_encoder": backbones / "encoder",
            "num_train_epochs": 3,
            "per_device_train_batch_size": 8,
            "warmup_steps": 1,
            "use_cpu": True,
            "disable_tqdm": True,
            "save_total_limit": 20,
        }
        settings |= options
        argv = []
        for name, value in settings.items():
            if value is not None:
                argv += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
        return argv

    return build


@pytest.fixture
def escnet_line(command_line: Callable[..., list[str]], backbones: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """`escnet_line(output, **options)`: a small run with an attribute captioner of two words."""
    captioner = {"model_type": "attribute_captioner", "classifier_size": 32}
    config = {"fusion_size": 8, "fusion_heads": 2, "feature_norm": "power", "captioner_config": captioner}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    words = [
        {"label": "lamp", "attribute": "object", "words": ["dark"]},
        {"label": "beach", "attribute": "scene", "words": ["bright", "old"]},
    ]
    (tmp_path / "words.json").write_text(json.dumps(words), encoding="utf-8")
    head = {"weight": torch.zeros(1000, 32), "bias": torch.zeros(1000)}
    (tmp_path / "head").mkdir()
    save_file(head, tmp_path / "head" / "lexicon.safetensors")

    def build(output: Path, **options: Any) -> list[str]:
        settings = {"text": backbones / "encoder", "config": tmp_path / "config.json", "sentence_encoder": None}
        settings |= {"num_train_epochs": 2, "classifier": tmp_path / "head"}
        return command_line(output, **(settings | options))

    return build


@pytest.fixture
def aciec_line(command_line: Callable[..., list[str]], backbones: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """`aciec_line(output, **options)`: a small run with five concepts, lists of them, and comments."""
    config = {"feature_norm": "power", "concept_size": SEMANTIC_SIZE, "text_length": 60, "concepts_read": 2}
    config |= {"concepts_shown": 2}
    (tmp_path / "aciec.json").write_text(json.dumps(config), encoding="utf-8")
    names = ("dark house", "bright beach", "old lamp", "calm lake", "loud street")
    (tmp_path / "concepts.txt").write_text("\n".join(names), encoding="utf-8")
    lists = [
        {"emotion": MIKELS.labels[i % 8], "concepts": f"{names[i % 5]} {names[(i + 1) % 5]}", "tags": names[i % 5][:4]}
        for i in range(40)
    ]
    remarks = [{"emotion": EKMAN.labels[i % 7], "text": f"a dark place {i}"} for i in range(21)]
    listed, said = write_csv(tmp_path / "lists.csv", lists), write_csv(tmp_path / "said.csv", remarks)
    texts = [f"{listed}:mikels8", f"{said}:ekman7"]

    def build(output: Path, **options: Any) -> list[str]:
        settings = {"text": backbones / "encoder", "config": tmp_path / "aciec.json", "text_epochs": None}
        settings |= {"concepts": tmp_path / "concepts.txt", "concept_epochs": 2, "image_epochs": 1, "texts": texts}
        settings |= {"num_train_epochs": 2, "read_text": False, "cache": tmp_path / "cache"}
        return command_line(output, **(settings | options))

    return build
