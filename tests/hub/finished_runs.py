"""Finished runs to push, with all that may lie beside them and must not leave the machine."""

import json
import shutil
from pathlib import Path

CARD = "---\nlibrary_name: transformers\nlicense: other\n---\n\n# A run\n"
SECRET = "this-must-stay-on-the-machine"
STAYS = (
    ".env",
    "token",
    "optimizer.pt",
    "pytorch_model.bin",
    "training_args.bin",
    "rng_state.pth",
    "notes.txt",
    "checkpoint-3/model.safetensors",
    "checkpoint-3/optimizer.pt",
    "checkpoint-3/trainer_state.json",
    "taught/model.safetensors",
    "base/config.json",
    "base/model.safetensors",
    "pictures/holiday.jpg",
    "training.yaml",
    "runs/events.out.tfevents.1",
    ".cache/config.json",
)


def make_run(checkpoint: Path, folder: Path) -> Path:
    """A run's folder around a checkpoint, with the files of :data:`STAYS` among the others."""
    shutil.copytree(checkpoint, folder)
    (folder / "README.md").write_text(CARD)
    (folder / "metrics.json").write_text(json.dumps({"seed": 0}))
    (folder / "training.json").write_text(json.dumps({"method": "ugrie"}))
    (folder / "pictures").mkdir()
    (folder / "pictures" / "learning_curve.png").write_bytes(b"\x89PNG\r\n")
    for name in STAYS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(SECRET)
    return folder
