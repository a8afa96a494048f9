"""How the page looks: a theme that loads no font from anywhere, and the style sheets."""

from pathlib import Path

import gradio as gr

_NAMES = ("style", "choices", "words", "agreement", "single", "plots", "many", "compare", "about")
STYLE_SHEETS = [Path(__file__).parent / f"{name}.css" for name in _NAMES]
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def page_theme() -> gr.themes.Base:
    """The theme; its fonts are the visitor's own, as web fonts would tell another site of the visit."""
    fonts, mono = [gr.themes.Font(name) for name in _SANS], [gr.themes.Font(name) for name in _MONO]
    theme = gr.themes.Default(
        primary_hue="blue", secondary_hue="blue", neutral_hue="slate", radius_size="lg", font=fonts, font_mono=mono
    )
    # The defaults are too pale to read: these have a contrast of at least 4.5 to 1 (WCAG 2.2, AA).
    return theme.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_600",
        block_title_text_color="*neutral_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_hover="#991b1b",
        button_cancel_text_color="white",
    )
