"""Importing the package is light, and transformers knows its models and pipeline whichever is imported first."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

HEAVY = ("torch", "transformers", "gradio", "datasets", "peft", "diffusers", "PIL")
METHODS = ("ugrie", "escnet", "aciec")
IMPORTS = {
    "pipeline_class_first": "from iec_hub import ImageEmotionClassificationPipeline\nimport transformers.pipelines\n",
    "transformers_first": "import transformers.pipelines\n"
    "from transformers import AutoConfig, AutoModel, AutoProcessor\nimport iec_hub\n",
    "package_first": "import iec_hub\n",
}
# Tables that are replaced serve everybody: looking up a stranger neither fails nor loads our models.
STRANGERS = """
import iec_hub, sys
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
found = [AutoConfig.for_model("bart").model_type, "no-such-type" in CONFIG_MAPPING, "iec_hub.models" in sys.modules]
found += [AutoConfig.for_model("ugrie").model_type, "iec_hub.models" in sys.modules]
iec_hub._registration.install(); iec_hub._registration.install()
hooks = [finder for finder in sys.meta_path if type(finder).__name__ == "_HookFinder"]
print(json.dumps({"strangers": [*found, len(hooks), "ugrie" in CONFIG_MAPPING.keys()]}))
"""
PUBLIC_NAMES = """
import iec_hub
there = [getattr(iec_hub, name) for name in iec_hub.__all__]
try:
    iec_hub.no_such_name
except AttributeError as error:
    said = str(error)
print(json.dumps({"names": [len(there), set(iec_hub.__all__) <= set(dir(iec_hub)), said]}))
"""
EVERYTHING = """
import iec_hub, sys, torch
from iec_hub import AutoImageEmotionModel
from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY
task, settings, _ = PIPELINE_REGISTRY.check_task("image-emotion-classification")
pipeline = [task, settings["impl"].__name__, [model.__name__ for model in settings["pt"]], settings["type"]]
loaded = {}
for folder in sys.argv[1:]:
    parts = [auto.from_pretrained(folder) for auto in (AutoConfig, AutoModel, AutoImageEmotionModel, AutoProcessor)]
    states = [model.state_dict().values() for model in parts[1:3]]
    equal = all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    loaded[folder] = [*(f"{type(part).__module__}.{type(part).__name__}" for part in parts), equal]
print(json.dumps({"pipeline": pipeline, "loaded": loaded}))
"""


def run(script: str, *arguments: str) -> str:
    """Standard output of a fresh interpreter."""
    line = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_is_light_and_fast() -> None:
    output = run(
        "import sys, time; start = time.perf_counter(); import iec_hub; seconds = time.perf_counter() - start\n"
        f"print(seconds, *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    seconds, *loaded = output.split()
    assert not loaded
    assert float(seconds) < 1


def test_emotions_and_predictions_need_no_torch() -> None:
    modules = "iec_hub.emotions, iec_hub.images, iec_hub.prediction, iec_hub.errors, iec_hub.registry"
    output = run(f"import sys, {modules}\nprint(*[name for name in ('torch', 'transformers') if name in sys.modules])")
    assert not output


@pytest.fixture(scope="module")
def folders(request: pytest.FixtureRequest) -> dict[str, str]:
    """A tiny checkpoint of each method."""
    return {method: str(request.getfixturevalue(f"tiny_{method}_dir")) for method in METHODS}


@pytest.fixture(scope="module", params=IMPORTS)
def told(request: pytest.FixtureRequest, folders: dict[str, str]) -> dict[str, Any]:
    """What a fresh interpreter finds after imports in one order; one for all questions, as imports take seconds."""
    first = {"package_first": STRANGERS, "pipeline_class_first": PUBLIC_NAMES}.get(request.param, "")
    output = run("import json\n" + IMPORTS[request.param] + first + EVERYTHING, *folders.values())
    return {name: value for line in output.splitlines() for name, value in json.loads(line).items()}


def test_the_pipeline_is_known(told: dict[str, Any]) -> None:
    pipeline = [
        "image-emotion-classification",
        "ImageEmotionClassificationPipeline",
        ["AutoImageEmotionModel"],
        "image",
    ]
    assert told["pipeline"] == pipeline


def test_auto_classes_load_every_method(told: dict[str, Any], folders: dict[str, str]) -> None:
    for method, folder in folders.items():
        name = method.capitalize()
        kinds = [("configuration", "Config"), *[("modeling", "ForImageEmotion")] * 2, ("processing", "Processor")]
        wanted = [f"iec_hub.models.{method}.{kind}_{method}.{name}{suffix}" for kind, suffix in kinds]
        assert told["loaded"][folder] == [*wanted, True]


@pytest.mark.parametrize("told", ["package_first"], indirect=True)
def test_other_models_are_found_as_before(told: dict[str, Any]) -> None:
    assert told["strangers"] == ["bart", False, False, "ugrie", True, 1, True]


@pytest.mark.parametrize("told", ["pipeline_class_first"], indirect=True)
def test_every_public_name_is_there(told: dict[str, Any]) -> None:
    count, listed, said = told["names"]
    assert count > 10 and listed and said == "module 'iec_hub' has no attribute 'no_such_name'"
