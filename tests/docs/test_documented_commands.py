"""Every command and every line of Python in the documentation is run, page by page, and shown output is compared."""

from __future__ import annotations

import ast
import os
import re
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from documented_blocks import Block, PageRun, blocks_of, missing_line
from hub_server import HubServer, client_environment
from warm_python import WarmPython

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
README = ROOT / "README.md"
# This one talks to a running page, beside which tests/space/test_space_api_page.py runs it.
SERVED = ("space-api.md",)
# These talk to a hub: the tests' own, on this machine.
PUSHING = ("pushing.md",)
# Commands of these start from a process that has imported everything. Those of the others start as a reader's do.
TRAINING = ("fine-tuning.md", "loading.md", "pushing.md")
# What lies in a clone and is read or run by the pages.
OF_THE_CLONE = ("iec_hub", "training", "README.md", "app.py", "requirements.txt", "LICENSE")

# Blocks of the README that are not run here, by a line of theirs, and why.
README_NOT_RUN = {
    "python3 -m venv .venv": "installs from the network and opens the page, which tests/space do",
    "bash tests/run": "these are the tests",
    "iec-hub predict iec_hub/space/examples/bed-at-night.jpg --method aciec": "minutes of three methods; "
    "tests/test_cli.py and tests/test_cli_explanations.py run them",
    "IEC_HUB_SPACE_MODELS=ugrie-mini,runs/mine": "serves until it is stopped; tests/space/test_space_offering.py "
    "reads such",
    'client = Client("http://127.0.0.1:7860")': "asks a page, beside which tests/space/test_space_api_page.py runs it",
    'dataset = load_emotion_dataset("DIR", split="train")': "DIR stands for the reader's data; docs/data.md runs it",
    "iec-hub train ugrie --data DIR --model ugrie-mini": "DIR is the reader's data; docs/fine-tuning.md runs such",
    'EmotionPredictor.from_pretrained("runs/mine")': "what that command trains; docs/loading.md runs such",
    "iec-hub train escnet --data DIR --preset base": "downloads backbones",
    "iec-hub train aciec --data DIR --preset base": "downloads backbones",
    "reasoner.model.load_reasoner(": "downloads a vision-language model",
    "python benchmarks/bass.py": "583 pictures; tests/evaluation/test_bass.py runs it on some",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder like a clone of this repository, into which a page may write."""
    folder = tmp_path / "clone"
    (folder / "tests" / "fixtures").mkdir(parents=True)
    (folder / "tests" / "fixtures" / "coco_cc_by").symlink_to(ROOT / "tests" / "fixtures" / "coco_cc_by")
    for name in OF_THE_CLONE:
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A reader's: this Python's commands first, nothing cached, no Hub, no login."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    settings = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    settings |= {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ""}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return known | settings | {"PATH": path}


def run_all(blocks: list[Block], folder: Path, environment: dict[str, str], notes: Path, warm: bool = False) -> None:
    """Run blocks in order; the first that fails, or does not print what the page shows, ends the test."""
    notes.mkdir()
    with ExitStack() as stack:
        python: str | Path = sys.executable
        if warm:
            commands = stack.enter_context(WarmPython(environment))
            environment, python = commands.environment, commands.folder / "python"
        page = stack.enter_context(PageRun(folder, environment, notes, python))
        for block in blocks:
            if block.not_run is not None:
                continue
            begun = time.monotonic()
            well, output = page.run(block)
            print(f"{block.where}  {block.language}  {time.monotonic() - begun:.1f} s")
            told = f"\n{block.code}\n--- printed:\n{output[-6000:]}"
            assert well, f"{block.where} fails:{told}"
            missing = missing_line(block.prints, output)
            assert missing is None, f"{block.where} does not print what the page shows: {missing!r}{told}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in SERVED], ids=lambda page: page.stem)
def test_a_page_does_what_it_says(
    page: Path, clone: Path, environment: dict[str, str], hub_server: HubServer, tmp_path: Path
) -> None:
    blocks = blocks_of(page)
    assert [block for block in blocks if block.not_run is None], "a page without a command is not tested"
    assert all(block.not_run != "" for block in blocks), "a block that is not run says why"
    if page.name in PUSHING:
        hub_server.reset()
        environment |= client_environment(hub_server, tmp_path / "home") | {"PATH": environment["PATH"]}
    run_all(blocks, clone, environment, tmp_path / "notes", warm=page.name in TRAINING)


def test_the_readme_does_what_it_says(clone: Path, environment: dict[str, str], tmp_path: Path) -> None:
    blocks = blocks_of(README)
    left_out = {line: [block for block in blocks if line in block.code] for line in README_NOT_RUN}
    assert [line for line, found in left_out.items() if len(found) != 1] == [], "no block of the README, or several"
    skipped = [block for found in left_out.values() for block in found]
    kept = [block for block in blocks if block not in skipped]
    assert kept, "something of the README is cheap enough"
    run_all(kept, clone, environment, tmp_path / "notes")


def test_the_readme_links_every_page() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", README.read_text(encoding="utf-8")))
    assert linked == {page.name for page in PAGES}


def test_the_sentences_that_the_pages_explain_are_those_of_the_software() -> None:
    """The first column of tables with the head "it says"; "..." stands for what is filled in."""
    spoken = said_by_the_software()
    shown = [(page.name, line) for page in PAGES for line in explained_sentences(page)]
    assert {name for name, _ in shown} == {"pushing.md", "troubleshooting.md"}
    unsaid = []
    for name, line in shown:
        parts = [re.escape(part.strip()) for part in line.split("...")]
        pattern = re.compile(".*".join(parts), re.DOTALL)
        if not any(pattern.search(sentence) for sentence in spoken):
            unsaid.append(f"{name}: {line}")
    assert not unsaid, "the pages explain what nothing says"


def explained_sentences(page: Path) -> list[str]:
    tables = re.findall(
        r"^\| it says \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return [row.split("|")[1].strip() for table in tables for row in table.splitlines()]


def said_by_the_software() -> list[str]:
    """All strings of the package; what an f-string fills in is left out."""
    found = []
    for file in (ROOT / "iec_hub").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(part.value) for part in node.values if isinstance(part, ast.Constant)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", text)):
        if ":" in target:
            continue
        file = page if not target else (page.parent / target).resolve()
        assert file.exists(), f"{page.name} links to {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name} links to {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and the Hub make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


class TestTheRunner:
    """It would notice."""

    PAGE = """# A page

```bash
echo one > file; echo "loss 0.123 of 4"
```

<!-- prints -->

```text
loss 0.9 of 4
```

```python
from pathlib import Path
kept = Path("file").read_text()
```

<!-- not run: needs a GPU -->

```bash
exit 3
```

```python
print("kept", kept)
```

```text
kept ...e
```
"""

    def run(self, text: str, tmp_path: Path, environment: dict[str, str]) -> None:
        page = tmp_path / "page.md"
        page.write_text(text, encoding="utf-8")
        folder = tmp_path / "folder"
        folder.mkdir()
        run_all(blocks_of(page), folder, environment, tmp_path / "notes")

    def test_blocks_run_in_order_and_share_folder_and_names(self, tmp_path: Path, environment: dict[str, str]) -> None:
        self.run(self.PAGE, tmp_path, environment)

    @pytest.mark.parametrize(
        ("right", "wrong", "told"),
        [
            ("echo one > file;", "false | cat > file;", "page.md:3 fails"),
            ("kept = Path", "kept = missing", "page.md:13 fails"),
            (
                "of 4\n```\n\n```python",
                "of 5\n```\n\n```python",
                "does not print what the page shows: 'loss 0.9 of 5'",
            ),
            ("<!-- not run: needs a GPU -->", "", "page.md:20 fails"),
            ("kept ...e", "kept two", "does not print"),
            ('print("kept", kept)', "import os; os._exit(0)", "Python ended"),
        ],
    )
    def test_what_goes_wrong_is_told(
        self, right: str, wrong: str, told: str, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        assert right in self.PAGE
        with pytest.raises(AssertionError, match=re.escape(told)):
            self.run(self.PAGE.replace(right, wrong), tmp_path, environment)

    def test_a_block_that_is_not_run_says_why(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("<!-- not run: -->\n\n```bash\nfalse\n```\n", encoding="utf-8")
        assert [block.not_run for block in blocks_of(page)] == [""]
