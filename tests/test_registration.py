"""Importing the package is light, and transformers knows its models and pipeline whichever is imported first."""

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "gradio", "datasets", "peft", "diffusers", "PIL")


def run(script: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=False)
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


def test_every_public_name_is_there() -> None:
    output = run(
        "import iec_hub\n"
        "print(len([getattr(iec_hub, name) for name in iec_hub.__all__]), set(iec_hub.__all__) <= set(dir(iec_hub)))\n"
        "try:\n    iec_hub.no_such_name\nexcept AttributeError as error:\n    print(error)"
    )
    first, last = output.split("\n")
    count, listed = first.split()
    assert int(count) > 10 and listed == "True" and last == "module 'iec_hub' has no attribute 'no_such_name'"


@pytest.mark.parametrize(
    "imports",
    [
        "from iec_hub import ImageEmotionClassificationPipeline\nimport transformers.pipelines",
        "import transformers.pipelines\nimport iec_hub",
        "import iec_hub\nimport transformers.pipelines",
    ],
    ids=["pipeline_class_first", "transformers_first", "package_first"],
)
def test_the_pipeline_is_known(imports: str) -> None:
    output = run(
        f"{imports}\n"
        "from transformers.pipelines import PIPELINE_REGISTRY\n"
        "task, settings, _ = PIPELINE_REGISTRY.check_task('image-emotion-classification')\n"
        "print(task, settings['impl'].__name__, [model.__name__ for model in settings['pt']], settings['type'])"
    )
    assert output == "image-emotion-classification ImageEmotionClassificationPipeline ['AutoImageEmotionModel'] image"


def test_other_models_are_found_as_before() -> None:
    """The tables that are replaced serve everybody: looking up a stranger neither fails nor loads our models."""
    output = run(
        "import iec_hub, sys\n"
        "from transformers import AutoConfig\n"
        "from transformers.models.auto.configuration_auto import CONFIG_MAPPING\n"
        "print(AutoConfig.for_model('bart').model_type, 'no-such-type' in CONFIG_MAPPING)\n"
        "print('iec_hub.models' in sys.modules)\n"
        "print(AutoConfig.for_model('ugrie').model_type, 'iec_hub.models' in sys.modules)\n"
        "iec_hub._registration.install(); iec_hub._registration.install()\n"
        "hooks = [finder for finder in sys.meta_path if type(finder).__name__ == '_HookFinder']\n"
        "print(len(hooks), 'ugrie' in CONFIG_MAPPING.keys())\n"
    )
    assert output.split("\n") == ["bart False", "False", "ugrie True", "1 True"]
