"""The photographs to try the page with."""

import json
from pathlib import Path

import gradio as gr

from iec_hub.space import texts

# Gradio gives the thumbnails no names, so a screen reader would say "button" eight times; and it draws those of a tab
# when it is opened first.
_NAME = """() => {
    const names = %s;
    const name = () => document.querySelectorAll("[id^=iec-][id*=examples]").forEach((gallery) =>
        gallery.querySelectorAll(".gallery-item").forEach((button, index) =>
            button.getAttribute("aria-label") || button.setAttribute("aria-label", names[index %% names.length])));
    name();
    new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
}"""


def example_pictures() -> list[Path]:
    """The pictures to try, in a fixed order."""
    return sorted((Path(__file__).parent / "examples").glob("*.jpg"))


def lay_out_examples(picture: gr.Image, element: str) -> gr.Examples:
    """Draw thumbnails that give `picture` an example; `element` is the gallery's id, iec-...examples..."""
    return gr.Examples(
        [[str(path)] for path in example_pictures()],
        inputs=[picture],
        label=texts.EXAMPLES,
        elem_id=element,
        cache_examples=False,
        api_visibility="private",
    )


def name_examples(page: gr.Blocks) -> None:
    """Let screen readers tell the thumbnails of all tabs apart."""
    names = [texts.example_name(path.stem) for path in example_pictures()]
    page.load(None, js=_NAME % json.dumps(names), api_visibility="private")
