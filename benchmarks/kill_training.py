"""Kill a training at random moments, resume it every time, and compare its weights with a run in one go.

    python benchmarks/kill_training.py [--kills 20] [--method ugrie] [--lora True] [--output FILE.json]

From a clone alone: the bundled checkpoint learns made-up labels of the committed photographs. What is shown is that a
run ends with the same weights, not how good they are.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

PICTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "coco_cc_by"
LABELS = ("calm", "eerie", "festive")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--method", default="ugrie", choices=("ugrie", "escnet", "aciec"))
    parser.add_argument("--lora", default="True")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        result = killed_runs(Path(work), given)
    print(json.dumps(result, indent=2))
    if given.output:
        given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def killed_runs(work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One run in one go; others that are killed and resumed until they end, as many as the kills need."""
    data = work / "pictures"
    for i, picture in enumerate(sorted(PICTURES.glob("*.jpg"))):
        (data / LABELS[i % 3]).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, data / LABELS[i % 3] / picture.name)
    began = time.monotonic()
    start(command(given, data, work / "straight", work / "features-a", False)).wait()
    seconds, expected = time.monotonic() - began, weights(work / "straight")
    rng = random.Random(given.seed)
    kills: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    broken: list[str] = []
    resumed, cut = False, work / "run-0"
    while len(kills) < given.kills or not runs or resumed:
        process = start(command(given, data, cut, work / "features-b", resumed))
        moment = rng.uniform(0, seconds) if len(kills) < given.kills else None
        try:
            code = process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills.append({"after_seconds": round(moment, 2), "had": reached(cut)})
            broken += unreadable(cut)
            resumed = True
            continue
        found = weights(cut)
        different = [n for n, tensor in expected.items() if not torch.equal(tensor, found.get(n, torch.zeros(0)))]
        same = not different and expected.keys() == found.keys()
        runs.append({"exit": code, "kills_so_far": len(kills), "same_weights": same})
        resumed, cut = False, work / f"run-{len(runs)}"
    return {
        "method": given.method,
        "lora": given.lora,
        "kills": len(kills),
        "seconds_in_one_go": round(seconds, 1),
        "runs": runs,
        "all_runs_ended_with_the_same_weights": all(run["same_weights"] and run["exit"] == 0 for run in runs),
        "half_written_files": broken,
        "killed": kills,
        "machine": machine.facts(),
    }


def command(given: argparse.Namespace, data: Path, output: Path, cache: Path, resume: bool) -> list[str]:
    line = [sys.executable, "-m", "iec_hub.cli", "train", given.method, "--data", str(data)]
    line += ["--model", f"{given.method}-mini", "--lora", given.lora, "--output_dir", str(output)]
    line += ["--cache", str(cache), "--views", "2", "--num_train_epochs", "6", "--per_device_train_batch_size", "4"]
    line += ["--save_strategy", "steps", "--save_steps", "3", "--eval_strategy", "steps", "--eval_steps", "3"]
    line += ["--use_cpu", "True", "--disable_tqdm", "True", "--patience", "0"]
    return [*line, "--resume_from_checkpoint", "True"] if resume else line


def start(line: list[str]) -> subprocess.Popen:
    """In a group of its own, so that a kill reaches all of it."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"}
    return subprocess.Popen(
        line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def reached(folder: Path) -> str:
    """How far a run had come when it was killed."""
    if (folder / "metrics.json").is_file():
        return "everything"
    steps = [int(path.name[11:]) for path in folder.glob("checkpoint-*") if path.name[11:].isdecimal()]
    return f"checkpoint {max(steps)}" if steps else "a claimed folder" if folder.is_dir() else "nothing"


def unreadable(folder: Path) -> list[str]:
    """Files that somebody would take for whole and that are not."""
    found = []
    for path in folder.glob("*.safetensors"):
        try:
            load_file(path)
        except SafetensorError:
            found.append(path.name)
    for path in folder.glob("*.json"):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found.append(path.name)
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    for name in ("adapter_model.safetensors", "model.safetensors"):
        if (folder / name).is_file():
            return load_file(folder / name)
    return {}


if __name__ == "__main__":
    main()
