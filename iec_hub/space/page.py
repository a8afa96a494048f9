"""The whole page: header, the tabs' content, the folded explanation, and how to launch it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from iec_hub.space import texts
from iec_hub.space.methods import Predictor, page_methods
from iec_hub.space.single import build_single_picture
from iec_hub.space.theme import STYLE_SHEETS, page_theme

QUEUE_LENGTH = 32
CACHE_SECONDS = 3600
MAX_FILE_SIZE = "10mb"


def build_page(predictors: Predictor | Mapping[str, Predictor] | Sequence[Predictor]) -> gr.Blocks:
    """The page for one predictor or several; launch it with :func:`launch_options`.

    Args:
        predictors: an `iec_hub.predictor.EmotionPredictor` or anything like it (see
            :class:`iec_hub.space.methods.Predictor`), a sequence of them, or a mapping of method names to them. Where
            there are several, visitors choose; the first is chosen at the beginning.

    Raises:
        CheckpointError: if there is no predictor, or two are of the same method.
    """
    methods = page_methods(predictors)
    described = [(each.name, each.predictor.name, each.trained) for each in methods.values()]
    # Uploaded pictures are deleted: looked for every hour, removed when an hour old.
    with gr.Blocks(
        title=texts.TITLE, analytics_enabled=False, delete_cache=(CACHE_SECONDS, CACHE_SECONDS), fill_width=False
    ) as page:
        gr.HTML(f'<header class="iec-header"><h1>{escape(texts.TITLE)}</h1><p>{escape(texts.PURPOSE)}</p></header>')
        build_single_picture(page, methods)
        with gr.Accordion(texts.ABOUT_TITLE, open=False, elem_id="iec-about"):
            gr.Markdown(texts.about(described))
    page.queue(max_size=QUEUE_LENGTH, default_concurrency_limit=1)
    return page


def launch_options() -> dict[str, Any]:
    """Arguments for `launch` that belong to the page wherever it runs."""
    return {
        "theme": page_theme(),
        "css_paths": list(STYLE_SHEETS),
        "max_file_size": MAX_FILE_SIZE,
        "ssr_mode": False,
        "footer_links": ["api", "gradio"],
    }
