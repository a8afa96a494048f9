"""The Space: loads the models that are offered, builds the page from iec_hub.space and launches it, nothing else."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Read when gradio is imported: tell nobody of a visit, and keep no list of a visitor's runs.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_RUN_HISTORY", "False")
# Read when torch is imported: threads that wait for work leave the cores to those that have some.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from iec_hub.space.gpu import borrows_gpu  # noqa: E402  before torch, which a lender of GPUs patches
from iec_hub.space.offering import load_offer, offered_predictors  # noqa: E402
from iec_hub.space.starting import (  # noqa: E402
    keep_memory,
    mistakes_as_sentences,
    nothing_to_collect,
    share_cores,
    warm_up,
    write_no_stubs,
)

with mistakes_as_sentences():
    offer = load_offer(Path(__file__).with_name("space.yaml"))
keep_memory()
write_no_stubs()

with mistakes_as_sentences(), nothing_to_collect(), ThreadPoolExecutor(1) as loader:
    share_cores(offer.limits)
    # Not in the thread, which would import at the same time what gradio imports.
    import iec_hub.predictor  # noqa: F401

    # On a GPU where there is one; ZeroGPU wants the models loaded here, not in the first call.
    loading = loader.submit(offered_predictors, offer)
    from iec_hub.space.page import build_page, launch_options

    predictors = loading.result()
    page = build_page(predictors, offer.limits)

if __name__ == "__main__":
    page.launch(**launch_options(offer.limits), prevent_thread_lock=True)
    if not borrows_gpu():
        warm_up(predictors.values())
    page.block_thread()
