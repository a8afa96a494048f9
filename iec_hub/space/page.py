"""The whole page: header, tabs and endpoints, and how to launch it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from iec_hub.space import texts
from iec_hub.space.about import build_about
from iec_hub.space.compare import build_comparison
from iec_hub.space.discretion import DiscreetBlocks
from iec_hub.space.door import KEPT_SECONDS, SWEEP_SECONDS, door_options
from iec_hub.space.endpoints import build_endpoints
from iec_hub.space.example_pictures import name_examples
from iec_hub.space.limits import Limits
from iec_hub.space.many import build_many_pictures
from iec_hub.space.methods import Predictor, page_methods
from iec_hub.space.pasting import PASTE
from iec_hub.space.service import Service
from iec_hub.space.single import build_single_picture
from iec_hub.space.theme import STYLE_SHEETS, page_theme


def build_page(
    predictors: Predictor | Mapping[str, Predictor] | Sequence[Predictor], limits: Limits | None = None
) -> gr.Blocks:
    """The page for one predictor or several; launch it with :func:`launch_options`.

    Args:
        predictors: an `iec_hub.predictor.EmotionPredictor` or anything like it (see
            :class:`iec_hub.space.methods.Predictor`), a sequence of them, or a mapping of method names to them. Where
            there are several, visitors choose; the first is chosen at the beginning.
        limits: how much a visitor may ask for; the usual ones if left out.

    Raises:
        CheckpointError: if there is no predictor, or two are of the same method.
    """
    service = Service(page_methods(predictors), limits)
    # Uploaded pictures are deleted when they are this old, looked for this often.
    kept = (SWEEP_SECONDS, KEPT_SECONDS)
    with DiscreetBlocks(title=texts.TITLE, analytics_enabled=False, delete_cache=kept, fill_width=False) as page:
        gr.HTML(f'<header class="iec-header"><h1>{escape(texts.TITLE)}</h1><p>{escape(texts.PURPOSE)}</p></header>')
        with gr.Tabs(elem_id="iec-tabs"):
            with gr.Tab(texts.TAB_SINGLE, id="single"):
                build_single_picture(page, service)
            with gr.Tab(texts.TAB_MANY, id="many"):
                build_many_pictures(page, service)
            with gr.Tab(texts.TAB_COMPARE, id="compare"):
                build_comparison(service)
            with gr.Tab(texts.TAB_ABOUT, id="about"):
                build_about(page, service)
        name_examples(page)
        build_endpoints(page, service)
        page.load(None, js=PASTE, api_visibility="private")
    # The service has lines of its own, so this queue only has to hold whoever stands in one of them.
    page.queue(max_size=2 * service.limits.waiting, default_concurrency_limit=service.limits.waiting)
    return page


def launch_options(limits: Limits | None = None) -> dict[str, Any]:
    """Arguments for `launch` that belong to the page wherever it runs.

    Args:
        limits: those that the page was built with.
    """
    return {
        **door_options(limits or Limits()),
        "theme": page_theme(),
        "css_paths": list(STYLE_SHEETS),
        "ssr_mode": False,
        "footer_links": ["api", "gradio"],
    }
