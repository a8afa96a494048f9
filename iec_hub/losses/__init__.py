"""The methods' losses, and the batches that they need."""

from iec_hub.losses.batch_sampling import HierarchicalBatchSampler
from iec_hub.losses.contrastive import mean_over_positives, pair_losses, supervised_contrastive_loss
from iec_hub.losses.difficulty import difficulty_weights, variable_weight_cross_entropy
from iec_hub.losses.hierarchical import (
    concept_positives,
    hierarchical_contrastive_loss,
    level_pairs,
    level_weights,
    multi_level_contrastive_loss,
)
from iec_hub.losses.similarity import similarity_sampled_contrastive_loss, similarity_sampled_pairs

__all__ = [
    "HierarchicalBatchSampler",
    "concept_positives",
    "difficulty_weights",
    "hierarchical_contrastive_loss",
    "level_pairs",
    "level_weights",
    "mean_over_positives",
    "multi_level_contrastive_loss",
    "pair_losses",
    "similarity_sampled_contrastive_loss",
    "similarity_sampled_pairs",
    "supervised_contrastive_loss",
    "variable_weight_cross_entropy",
]
