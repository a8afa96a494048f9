"""Publishing runs, data sets and the Space on the Hub. The Hub's client is imported when it is needed."""

from iec_hub.hub.publishing import (
    Publication,
    check_push,
    publish_dataset,
    publish_run,
    publish_space,
    push_after_training,
)

__all__ = [
    "Publication",
    "check_push",
    "publish_dataset",
    "publish_run",
    "publish_space",
    "push_after_training",
]
