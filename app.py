"""The Space: builds the page from iec_hub.space and launches it, nothing else."""

import os

# Read when gradio is imported: tell nobody of a visit, and keep no list of a visitor's runs.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_RUN_HISTORY", "False")

from iec_hub.predictor import EmotionPredictor  # noqa: E402
from iec_hub.space.page import build_page, launch_options  # noqa: E402

# On a GPU where there is one; ZeroGPU wants the model loaded here, not in the first call.
page = build_page(EmotionPredictor.from_pretrained())

if __name__ == "__main__":
    page.launch(**launch_options())
