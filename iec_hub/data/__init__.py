"""Any data set -> one schema: image, emotion model, label distribution, text, attributes."""

from iec_hub.data.balancing import class_weights, sampling_weights
from iec_hub.data.checks import check_trainable, similar_labels
from iec_hub.data.deduplication import RemovedDuplicate, remove_duplicates
from iec_hub.data.hub import DatasetImage
from iec_hub.data.labels import LABEL_ALIASES, label_index
from iec_hub.data.loading import LAYOUTS, load_emotion_dataset, recognise_layout
from iec_hub.data.sampling import few_shot
from iec_hub.data.schema import EmotionDataset, EmotionExample, SkippedRow
from iec_hub.data.splitting import with_splits

__all__ = [
    "LABEL_ALIASES",
    "LAYOUTS",
    "DatasetImage",
    "EmotionDataset",
    "EmotionExample",
    "RemovedDuplicate",
    "SkippedRow",
    "check_trainable",
    "class_weights",
    "few_shot",
    "label_index",
    "load_emotion_dataset",
    "recognise_layout",
    "remove_duplicates",
    "sampling_weights",
    "similar_labels",
    "with_splits",
]
