"""Training: data and settings in; checkpoint, metrics and model card out."""
