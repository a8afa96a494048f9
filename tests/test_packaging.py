"""What is installed, shipped and published agrees with itself: pyproject, requirements, front matter, wheel, git."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
MOST_BYTES = 30 * 2**20


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def front_matter(readme: str) -> dict:
    return yaml.safe_load(readme.split("---\n")[1])


@pytest.fixture(scope="module")
def shipped() -> set[str]:
    """The files that setuptools puts into a wheel, as it finds them by its own rules."""
    script = """
from setuptools import Distribution
project = Distribution({"script_name": "pyproject.toml"})
project.parse_config_files()
command = project.get_command_obj("build_py")
command.ensure_finalized()
files = [f"{folder}/{name}" for _, folder, _, names in command.data_files for name in names]
print("\\n".join([*command.get_source_files(), *files]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {line.replace(os.sep, "/") for line in done.stdout.split("\n") if line.startswith("iec_hub")}


@pytest.fixture(scope="module")
def in_git() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("This is no git checkout.")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def expanded(project: dict, lines: list[str]) -> list[Requirement]:
    """Requirements with the package's own extras replaced by what they hold."""
    found = []
    for requirement in map(Requirement, lines):
        if requirement.name != project["name"]:
            found.append(requirement)
        for extra in sorted(requirement.extras if requirement.name == project["name"] else ()):
            found += expanded(project, project["optional-dependencies"][extra])
    return found


def test_the_space_installs_what_the_package_and_its_demo_need(project: dict) -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {str(Requirement(line)) for line in lines if line.strip() and not line.startswith("#")}
    needed = {str(line) for line in expanded(project, [*project["dependencies"], "iec-hub[demo]"])}
    assert listed == needed


def test_the_space_runs_versions_that_the_package_accepts(project: dict, front_matter: dict) -> None:
    (gradio,) = (r for r in expanded(project, ["iec-hub[demo]"]) if r.name == "gradio")
    assert str(gradio.specifier) == f"=={front_matter['sdk_version']}", "the page is tested with this one"
    assert version("gradio") == front_matter["sdk_version"]
    assert isinstance(front_matter["python_version"], str), "unquoted, 3.10 would be read as 3.1"
    assert Version(front_matter["python_version"]) in SpecifierSet(project["requires-python"])


# What Spaces know (hf.co/docs/hub/spaces-config-reference); anything else would be ignored without a word.
FRONT_MATTER_KEYS = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file"}
FRONT_MATTER_KEYS |= {"license", "short_description", "tags", "models", "datasets", "preload_from_hub", "pinned"}
FRONT_MATTER_KEYS |= {"suggested_hardware", "fullWidth", "header", "thumbnail", "startup_duration_timeout"}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def test_the_front_matter_is_one_that_spaces_accept(project: dict, front_matter: dict) -> None:
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert set(front_matter) <= FRONT_MATTER_KEYS
    assert front_matter["sdk"] == "gradio" and re.fullmatch(r"\d+\.\d+\.\d+", front_matter["sdk_version"])
    assert re.fullmatch(r"3\.\d+(\.\d+)?", front_matter["python_version"])
    assert front_matter["title"] and len(front_matter["emoji"]) in (1, 2) and not front_matter["emoji"].isascii()
    assert {front_matter["colorFrom"], front_matter["colorTo"]} <= colours
    assert 0 < len(front_matter["short_description"]) <= 60
    assert (ROOT / front_matter["app_file"]).is_file()
    assert front_matter["license"] == project["license"].lower()
    tags = front_matter["tags"]
    assert len(tags) == len(set(tags)) and all(re.fullmatch(r"[a-z0-9-]+", tag) for tag in tags)
    # Without it nobody who looks for tools finds the Space.
    assert "mcp-server" in tags
    assert all(HUB_ID.fullmatch(model) for model in front_matter.get("models", []))
    assert all(HUB_ID.fullmatch(entry.split(" ")[0]) for entry in front_matter.get("preload_from_hub", []))


def test_the_front_matter_lists_the_models_that_the_page_offers(readme: str) -> None:
    """`iec-hub push-space` writes these lists, so the committed ones are those that it would write."""
    from iec_hub.hub.space_card import space_card

    assert space_card(ROOT) == readme


def test_the_readme_begins_with_the_two_commands(readme: str) -> None:
    shown = re.findall(r"```bash\n(.*?)\n```", readme, flags=re.DOTALL)
    assert shown[0].endswith('pip install -e ".[demo]" && python app.py')
    assert shown[1] == "bash tests/run"
    assert f"{shown[1]} " in (ROOT / ".ci" / "run").read_text(encoding="utf-8"), "CI runs the README's command"


def test_every_file_that_the_readme_names_exists(readme: str) -> None:
    floor_plan = re.search(r"## How it is built.*?```\n(.*?)```", readme, flags=re.DOTALL)
    assert floor_plan is not None
    parents: list[str] = []
    for line in floor_plan[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for name in re.split(r"\s{2,}", line.strip())[0].split(", "):
            # The longest names leave one space before their description.
            name = name.split(" ")[0]
            assert (ROOT / "/".join([*parents[:depth], name])).exists(), name
            parents[depth:] = [name.rstrip("/")] if name.endswith("/") else []
    named = {match for match in re.findall(r"[\w./-]+\.(?:py|md|png|jpg|txt)\b", readme) if "/" in match}
    assert named
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_the_wheel_holds_the_data_that_the_package_reads(shipped: set[str]) -> None:
    assert {"iec_hub/py.typed", "iec_hub/cli.py", "iec_hub/space/style.css"} <= shipped
    patterns = ("space/examples/*", "space/*.css", "space/*.js", "space/*.json", "checkpoints/**/*")
    expected = {
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in (ROOT / "iec_hub").glob(pattern)
        if path.is_file()
    }
    assert expected, "there are no example pictures and no checkpoints"
    assert expected <= shipped


def test_every_bundled_checkpoint_ships_whole(shipped: set[str]) -> None:
    from iec_hub.registry import BUNDLED_CHECKPOINTS

    for name in BUNDLED_CHECKPOINTS.values():
        folder = f"iec_hub/checkpoints/{name}"
        wanted = ("config.json", "model.safetensors", "tokenizer.json", "metrics.json", "README.md")
        assert {f"{folder}/{file}" for file in wanted} <= shipped
        assert sum((ROOT / file).stat().st_size for file in shipped if file.startswith(folder)) <= MOST_BYTES


def test_git_holds_no_large_file(in_git: list[str]) -> None:
    assert not [name for name in in_git if (ROOT / name).stat().st_size > MOST_BYTES]


def test_every_picture_in_git_has_its_attribution(in_git: list[str]) -> None:
    collections = {
        "iec_hub/space/examples": ("iec_hub/space/examples/ATTRIBUTION.md",),
        "tests/fixtures/coco_cc_by": ("tests/fixtures/coco_cc_by/metadata.csv",),
        "tests/fixtures/bass/images": ("tests/fixtures/bass/BASS_data.csv",),
    }
    texts = {
        folder: "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
        for folder, files in collections.items()
    }
    pictures = [Path(name) for name in in_git if name.lower().endswith(PICTURES)]
    # Drawn from a checkpoint's own metrics.json.
    pictures = [picture for picture in pictures if not picture.match("iec_hub/checkpoints/*/pictures/*.png")]
    # Photographs of our own page, which shows the examples.
    ours = {Path("docs") / name for name in ("page.png", "page-many.png", "page-compare.png")}
    for picture in pictures:
        if picture not in ours:
            folder = picture.parent.as_posix()
            assert folder in texts, f"{picture} belongs to no collection with an attribution"
            assert picture.name in texts[folder], f"{picture} is not named in its attribution"
    attribution = (ROOT / "tests" / "fixtures" / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for folder in (ROOT / "tests" / "fixtures").iterdir():
        assert not folder.is_dir() or f"## {folder.name}" in attribution
