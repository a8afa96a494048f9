"""The errors that users see: each message is one sentence saying what is wrong and what to do."""


class IecHubError(ValueError):
    """Root of every error this package raises on purpose."""


class ImageError(IecHubError):
    """A file or object cannot be used as an image."""


class DataError(IecHubError):
    """A data set, label or distribution cannot be used."""


class EmotionMappingError(IecHubError):
    """A distribution cannot be carried from one emotion model to another; the message gives the reason."""


class CheckpointError(IecHubError):
    """A model cannot be found or loaded."""


class HubError(IecHubError):
    """Something cannot be published on the Hub, or the Hub refuses it."""
