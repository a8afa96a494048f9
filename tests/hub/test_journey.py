"""From a folder of pictures to a pushed adapter and back: one command here, one `from_pretrained` somewhere else."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from finished_runs import CARD
from hub_server import HubServer, client_environment
from warm_python import WarmPython

from iec_hub.cli import main as cli
from iec_hub.hub import publish_run
from iec_hub.predictor import EmotionPredictor

METHODS = ("ugrie", "escnet", "aciec")
LABELS = ("calm", "eerie", "quiet joy")
# One process for all that is trained, and one for all that is asked.
TRAIN = """
import json, sys
from iec_hub.cli import main
for line in json.loads(sys.argv[1]):
    if main(line) != 0:
        sys.exit(f"{line} failed")
"""
ANSWER = """
import json, sys
from iec_hub import EmotionPredictor
methods, pictures = sys.argv[1].split(), sys.argv[2:]
answers = {}
for method in methods:
    predictor = EmotionPredictor.from_pretrained(f"me/{method}", device="cpu", revision="v1")
    found = predictor.predict(pictures, labels=["calm", "eerie", "quiet joy"])
    answers[method] = [prediction.distribution for prediction in found]
print(json.dumps(answers))
"""


def test_a_folder_of_pictures_becomes_adapters_that_others_load(
    hub: HubServer,
    request: pytest.FixtureRequest,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    data = tmp_path / "my pictures"
    for i, picture in enumerate(pictures):
        (data / LABELS[i % 3]).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, data / LABELS[i % 3] / picture.name)
    for method in METHODS:
        base = tmp_path / f"{method}-base"
        shutil.copytree(request.getfixturevalue(f"tiny_{method}_dir"), base)
        (base / "README.md").write_text(CARD, encoding="utf-8")
        publish_run(base, f"me/{method}-base")

    with WarmPython(client_environment(hub, tmp_path / "another-home")) as warm:
        run_in(warm, TRAIN, json.dumps([training(method, data, tmp_path / method) for method in METHODS]))
        for method in METHODS:
            assert cli(["push", str(tmp_path / method), f"me/{method}", "--tag", "v1"]) == 0
            assert_an_adapter_was_pushed(hub, method, tmp_path)
        answered = run_in(warm, ANSWER, " ".join(METHODS), *map(str, pictures[:3]))
    for method, there in json.loads(answered.splitlines()[-1]).items():
        assert_the_answers_are_those_of_here(there, tmp_path / method, tmp_path / f"{method}-base", pictures[:3])


def run_in(warm: WarmPython, code: str, *words: str) -> str:
    """Run Python code in a process of its own; what it printed."""
    line = [warm.folder / "python", "-c", code, *words]
    done = subprocess.run(line, env=warm.environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def training(method: str, data: Path, output: Path) -> list[str]:
    """The command line of a training that pushes its adapter."""
    line = [
        "train",
        method,
        "--data",
        str(data),
        "--model",
        f"me/{method}-base",
        "--lora",
        "--output_dir",
        str(output),
    ]
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
    return [*line, "--push_to_hub", "--hub_model_id", f"me/{method}", "--hub_private_repo", "True"]


def assert_an_adapter_was_pushed(hub: HubServer, method: str, tmp_path: Path) -> None:
    """With everything that loading needs, without its base, and without a word of where it was made."""
    files = hub.repository(f"me/{method}").files("main")
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "README.md", "metrics.json"} <= {*files}
    assert "model.safetensors" not in files and not any(name.startswith("checkpoint") for name in files)
    assert [name for name, content in files.items() if str(tmp_path).encode() in content] == []
    base = f"me/{method}-base"
    assert f"base_model: {base}".encode() in files["README.md"] or f"- {base}".encode() in files["README.md"]
    assert len(files["adapter_model.safetensors"]) < (tmp_path / f"{method}-base/model.safetensors").stat().st_size


def assert_the_answers_are_those_of_here(
    there: list[dict[str, float]], output: Path, base: Path, pictures: list[Path]
) -> None:
    # This process does not reach the small hub with what it loads.
    settings = json.loads((output / "adapter_config.json").read_text(encoding="utf-8"))
    local = json.dumps(settings | {"base_model_name_or_path": str(base)})
    (output / "adapter_config.json").write_text(local, encoding="utf-8")
    here = EmotionPredictor.from_pretrained(output, device="cpu").predict(pictures, labels=list(LABELS))
    untrained = EmotionPredictor.from_pretrained(base, device="cpu")
    for one, two in zip(there, here, strict=True):
        assert one == pytest.approx(two.distribution, abs=1e-6)
    if untrained.model.open_labels:
        before = untrained.predict(pictures, labels=list(LABELS))
        assert any(
            b.distribution != pytest.approx(h.distribution, abs=1e-4) for b, h in zip(before, here, strict=True)
        )
