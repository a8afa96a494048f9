"""Borrowing a GPU on Hugging Face's ZeroGPU; anywhere else a function runs where it is."""

import os
from collections.abc import Callable
from typing import Any

# Imported with the page, as it has to patch torch before a model is moved to the GPU.
try:
    import spaces
except ImportError:
    spaces = None


def borrows_gpu() -> bool:
    """Whether a GPU is lent for each call: then models run in a process of the lender's and not in threads here."""
    return spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run with a GPU where the Space has to borrow one for each call."""
    return function if spaces is None else spaces.GPU(function)
