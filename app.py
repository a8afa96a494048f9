"""The Space: builds the page from iec_hub.space and launches it, nothing else."""

import os
from pathlib import Path

# Read when gradio is imported: tell nobody of a visit, and keep no list of a visitor's runs.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_RUN_HISTORY", "False")

from iec_hub.predictor import EmotionPredictor  # noqa: E402
from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path  # noqa: E402
from iec_hub.space.page import build_page, launch_options  # noqa: E402

# On a GPU where there is one; ZeroGPU wants the models loaded here, not in the first call.
page = build_page(
    {
        method: EmotionPredictor.from_pretrained(method=method)
        for method, name in BUNDLED_CHECKPOINTS.items()
        if Path(checkpoint_path(name)).is_dir()
    }
)

if __name__ == "__main__":
    page.launch(**launch_options())
