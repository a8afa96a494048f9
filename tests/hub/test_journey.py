"""From a folder of pictures to a pushed adapter and back: one command here, one `from_pretrained` somewhere else."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from finished_runs import CARD
from hub_server import HubServer

from iec_hub.cli import main as cli
from iec_hub.hub import publish_run
from iec_hub.predictor import EmotionPredictor

LABELS = ("calm", "eerie", "quiet joy")
ANSWER = """
import json, sys
from iec_hub import EmotionPredictor
predictor = EmotionPredictor.from_pretrained("me/mine", device="cpu", revision="v1")
found = predictor.predict(sys.argv[2:], labels=["calm", "eerie", "quiet joy"])
print(json.dumps([prediction.distribution for prediction in found]))
"""


@pytest.mark.parametrize("method", ["ugrie", "escnet", "aciec"])
def test_a_folder_of_pictures_becomes_an_adapter_that_others_load(
    method: str,
    hub: HubServer,
    command: Callable[..., subprocess.CompletedProcess[str]],
    request: pytest.FixtureRequest,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    data, base, output = tmp_path / "my pictures", tmp_path / "base", tmp_path / "run"
    for i, picture in enumerate(pictures):
        (data / LABELS[i % 3]).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, data / LABELS[i % 3] / picture.name)
    shutil.copytree(request.getfixturevalue(f"tiny_{method}_dir"), base)
    (base / "README.md").write_text(CARD, encoding="utf-8")
    publish_run(base, "me/base")

    line = ["train", method, "--data", str(data), "--model", "me/base", "--lora", "--output_dir", str(output)]
    line += [
        "--views",
        "2",
        "--num_train_epochs",
        "1",
        "--learning_rate",
        "0.01",
        "--use_cpu",
        "--disable_tqdm",
        "True",
    ]
    line += ["--read_text", "False"] if method == "aciec" else []
    trained = command(
        *("-m", "iec_hub.cli", *line, "--push_to_hub", "--hub_model_id", "me/mine", "--hub_private_repo", "True")
    )
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert cli(["push", str(output), "me/mine", "--tag", "v1"]) == 0

    files = hub.repository("me/mine").files("main")
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "README.md", "metrics.json"} <= {*files}
    assert "model.safetensors" not in files and not any(name.startswith("checkpoint") for name in files)
    assert [name for name, content in files.items() if str(tmp_path).encode() in content] == []
    assert b"base_model: me/base" in files["README.md"] or b"- me/base" in files["README.md"]
    assert len(files["adapter_model.safetensors"]) < len((base / "model.safetensors").read_bytes())

    answered = command("-c", ANSWER, "-", *map(str, pictures[:3]))
    assert answered.returncode == 0, answered.stderr[-2000:]
    there = json.loads(answered.stdout.splitlines()[-1])
    # This process does not reach the small hub with what it loads.
    settings = json.loads((output / "adapter_config.json").read_text(encoding="utf-8"))
    local = json.dumps(settings | {"base_model_name_or_path": str(base)})
    (output / "adapter_config.json").write_text(local, encoding="utf-8")
    here = EmotionPredictor.from_pretrained(output, device="cpu").predict(pictures[:3], labels=list(LABELS))
    untrained = EmotionPredictor.from_pretrained(base, device="cpu")
    for one, two in zip(there, here, strict=True):
        assert one == pytest.approx(two.distribution, abs=1e-6)
    if untrained.model.open_labels:
        before = untrained.predict(pictures[:3], labels=list(LABELS))
        assert any(
            b.distribution != pytest.approx(h.distribution, abs=1e-4) for b, h in zip(before, here, strict=True)
        )
