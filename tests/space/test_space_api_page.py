"""Every example of docs/space-api.md, and of the README's chapter on the page, is run beside a page."""

import os
import re
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from served_page import served

pytest.importorskip("gradio_client")

ROOT = Path(__file__).parents[2]
PAGE, README = ROOT / "docs" / "space-api.md", ROOT / "README.md"
sys.path.insert(0, str(ROOT / "tests" / "docs"))

from documented_blocks import PageRun, blocks_of, missing_line  # noqa: E402


def test_the_examples_do_what_the_page_says(predictor: Any, captioning: Any, reasoning: Any, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing; the page's examples need it.")
    folder, notes = tmp_path / "folder", tmp_path / "notes"
    folder.mkdir(), notes.mkdir()
    shutil.copy(ROOT / "iec_hub" / "space" / "examples" / "bed-at-night.jpg", folder / "photo.jpg")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with served({"ugrie": predictor, "escnet": captioning, "aciec": reasoning}) as (_, url):
        page = tmp_path / "space-api.md"
        text = PAGE.read_text(encoding="utf-8")
        assert "http://127.0.0.1:7860/" in text
        page.write_text(text.replace("http://127.0.0.1:7860", url.rstrip("/")), encoding="utf-8")
        blocks = blocks_of(page)
        assert len(blocks) > 8 and not any(block.not_run for block in blocks)
        (asking,) = (block for block in blocks_of(README) if "http://127.0.0.1:7860" in block.code)
        blocks.append(replace(asking, code=asking.code.replace("http://127.0.0.1:7860", url)))
        with PageRun(folder, environment, notes) as run:
            for block in blocks:
                well, output = run.run(block)
                assert well, f"{block.where} fails:\n{block.code}\n{output[-3000:]}"
                missing = missing_line(block.prints, output)
                assert missing is None, f"{block.where} does not print {missing!r}:\n{output[-3000:]}"


def test_the_tables_name_what_there_is(predictor: Any) -> None:
    """The arguments of each endpoint in their order, and the fields of an answer."""
    from iec_hub.space import schemas
    from iec_hub.space.endpoints import Endpoints

    text = PAGE.read_text(encoding="utf-8")
    for name in ("predict", "predict_batch", "concepts", "reason", "read_text"):
        arguments = list(getattr(Endpoints, name).__annotations__)
        shown = [argument for argument in arguments if argument not in ("return", "request")]
        assert f"| `{name}` | {', '.join(f'`{argument}`' for argument in shown)} |" in text
    fields = set(schemas.PredictionAnswer.__annotations__) | set(schemas.ReasonAnswer.__annotations__)
    assert not [field for field in fields | set(schemas.TextAnswer.__annotations__) if f"`{field}`" not in text]


def test_the_readme_shows_a_configuration_with_every_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from iec_hub.space.limits import Limits
    from iec_hub.space.offering import CONFIG_VARIABLE, MODELS_VARIABLE, OfferedModel, load_offer

    (shown,) = re.findall(r"```yaml\n(models:.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "space.yaml").write_text(shown, encoding="utf-8")
    for variable in (CONFIG_VARIABLE, MODELS_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    offer = load_offer(tmp_path / "space.yaml")
    assert offer.models == (OfferedModel("ugrie-mini"), OfferedModel("me/moods", "Cosy or free", "v1"))
    assert offer.limits == Limits(), "they are the usual ones"
    assert list(yaml.safe_load(shown)["limits"]) == [field.name for field in fields(Limits)]
