"""Pushed by one process, loaded by another with an empty cache: the same outputs, bit by bit."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import CARD, make_run
from hub_server import HubServer, client_environment
from safetensors.torch import load_file

from iec_hub.errors import HubError
from iec_hub.finetuning.adapters import AdapterArguments, add_adapter, save_adapter
from iec_hub.hub import publish_run
from iec_hub.images import open_image
from iec_hub.models.image_emotion import forward_inputs
from iec_hub.predictor import EmotionPredictor

LOAD = """
import sys
import torch
from safetensors.torch import save_file
from iec_hub import open_image
from iec_hub.models import AutoImageEmotionModel
from iec_hub.models.image_emotion import forward_inputs
from transformers import AutoProcessor

torch.set_num_threads(2)
picture, output, *names = sys.argv[1:]
logits = {}
for name in names:
    place = dict(zip(("pretrained_model_name_or_path", "revision"), name.split("@")))
    model = AutoImageEmotionModel.from_pretrained(**place).eval()
    processor = AutoProcessor.from_pretrained(**place)
    batch = processor(images=[open_image(picture)], emotion_models="mikels8")
    with torch.inference_mode():
        logits[name] = model(**forward_inputs(model.gather(batch, processor))).logits.contiguous()
save_file(logits, output)
"""
PUSH = """
import sys
from iec_hub.hub import publish_run
for name in sys.argv[2:]:
    publish_run(sys.argv[1], name, revision="try-1", private=True)
"""
METHODS = ("ugrie", "escnet", "aciec")


def logits_here(folder: Path, picture: Path) -> torch.Tensor:
    predictor = EmotionPredictor.from_pretrained(folder, device="cpu")
    batch = predictor.processor(images=[open_image(picture)], emotion_models="mikels8")
    with torch.inference_mode():
        return predictor.model(**forward_inputs(predictor.model.gather(batch, predictor.processor))).logits


def test_pushed_by_one_process_and_loaded_by_another(
    hub: HubServer,
    command: Callable[..., subprocess.CompletedProcess[str]],
    request: pytest.FixtureRequest,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    folders = {
        method: make_run(request.getfixturevalue(f"tiny_{method}_dir"), tmp_path / method) for method in METHODS
    }
    for method, folder in folders.items():
        pushed = command("-c", PUSH, str(folder), f"me/{method}")
        assert pushed.returncode == 0, pushed.stderr
    # By branch, by tag and by commit, with what came later out of the way.
    done = publish_run(folders["ugrie"], "me/ugrie", tag="v1")
    hub.repository("me/ugrie").commit("main", {"config.json": b"{}"}, "What came later")
    names = [*(f"me/{method}@try-1" for method in METHODS), "me/ugrie@v1", f"me/ugrie@{done.oid}"]
    output = tmp_path / "logits.safetensors"
    loaded = command("-c", LOAD, str(pictures[0]), str(output), *names)
    assert loaded.returncode == 0, loaded.stderr
    found = load_file(output)
    for name in names:
        expected = logits_here(folders[name.split("@")[0].removeprefix("me/")], pictures[0])
        assert torch.equal(found[name], expected) and expected.std() > 0, name
    assert any(re.fullmatch("GET /lfs/[0-9a-f]{64}", line) for line in hub.requests), "it came from the hub"


def test_nobody_else_sees_what_is_private(hub: HubServer, command: Callable[..., Any], run_folder: Path) -> None:
    publish_run(run_folder, "me/mine", private=True)
    code = "import sys; from huggingface_hub import hf_hub_download; hf_hub_download('me/mine', 'config.json')"
    assert command("-c", code).returncode == 0
    for token in ("hf_other", None):
        refused = command("-c", code.replace("config", "metrics"), token=token)
        assert refused.returncode != 0 and "RepositoryNotFoundError" in refused.stderr


def test_an_adapter_and_its_base_are_loaded_in_another_process(
    hub: HubServer, command: Callable[..., Any], tiny_ugrie_dir: Path, pictures: list[Path], tmp_path: Path
) -> None:
    base, folder = make_run(tiny_ugrie_dir, tmp_path / "whole"), tmp_path / "adapter"
    publish_run(base, "me/base")
    predictor = EmotionPredictor.from_pretrained(tiny_ugrie_dir, device="cpu")
    adapted = add_adapter(predictor.model, AdapterArguments(lora=True, lora_rank=2), fresh=False)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    save_adapter(adapted, predictor.processor, folder)
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(tiny_ugrie_dir)
    (folder / "README.md").write_text(CARD)
    with pytest.raises(HubError, match="is a folder on this disk; push the base first"):
        publish_run(folder, "me/adapter")
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "me/base"}))
    done = publish_run(folder, "me/adapter", tag="v1")
    assert "adapter_model.safetensors" in done.files and "model.safetensors" not in done.files
    output = tmp_path / "logits.safetensors"
    loaded = command("-c", LOAD, str(pictures[0]), str(output), "me/adapter@v1")
    assert loaded.returncode == 0, loaded.stderr
    batch = predictor.processor(images=[open_image(pictures[0])], emotion_models="mikels8")
    with torch.inference_mode():
        here = predictor.model.eval()(**forward_inputs(predictor.model.gather(batch, predictor.processor))).logits
    found = load_file(output)["me/adapter@v1"]
    assert torch.equal(found, here) and not torch.equal(found, logits_here(base, pictures[0]))


def test_a_killed_push_leaves_all_or_nothing_and_can_be_repeated(
    hub: HubServer, run_folder: Path, tmp_path: Path
) -> None:
    """A small version of `benchmarks/kill_push.py`: one kill during the upload, one at the commit."""
    words = [sys.executable, "-c", PUSH, str(run_folder), "me/mine"]
    environment = client_environment(hub, tmp_path / "home")
    hub.pause = 0.1
    for where in ("PUT /lfs/", "POST /api/models/me/mine/commit/"):
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not any(line.startswith(where) for line in hub.requests) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(random.Random(where).uniform(0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.3)  # what the server has begun, it ends
        files = hub.repository("me/mine").files("try-1")
        assert not files or files["model.safetensors"] == (run_folder / "model.safetensors").read_bytes()
        assert not files or {"README.md", "config.json", "metrics.json"} <= set(files)
    hub.pause = 0.0
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    files = hub.repository("me/mine").files("try-1")
    assert files and all(files[name] == (run_folder / name).read_bytes() for name in files)
    assert len(hub.repository("me/mine").messages) == 2, "one commit, however often it was tried"
