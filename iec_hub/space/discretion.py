"""Nothing that a visitor sent is written to a log: neither by gradio nor by what serves its tools."""

import logging
import traceback
from pathlib import Path
from typing import Any

import gradio as gr

from iec_hub.errors import IecHubError
from iec_hub.space import texts

logger = logging.getLogger(__name__)


class Refusal(gr.Error):
    """One sentence for whoever asked; nothing of it is logged.

    Args:
        sentence: what is wrong and what to do.
    """

    def __init__(self, sentence: str):
        super().__init__(sentence, print_exception=False)

    def __str__(self) -> str:
        # The server of tools sends this; gradio's own is in quotes.
        return str(self.message)


class DiscreetBlocks(gr.Blocks):
    """Gradio's page, whose log says where a request failed, not with which values.

    Gradio prints what was raised while a request was answered, and such messages quote what could not be used.
    """

    async def process_api(self, *arguments: Any, **settings: Any) -> dict[str, Any]:
        """What gradio answers a request with.

        Raises:
            gradio.Error: with one sentence.
        """
        try:
            return await super().process_api(*arguments, **settings)
        except gr.Error as error:
            error.print_exception = False
            raise
        except IecHubError as error:
            raise Refusal(str(error)) from None
        except Exception as error:
            places = "".join(traceback.format_tb(error.__traceback__))
            logger.error("A request failed with a %s:\n%s", type(error).__name__, places)
            raise Refusal(texts.UNEXPECTED_ERROR) from None


def hush_tools() -> None:
    """Stop the MCP server's library from logging what it was sent."""
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    # Some of it goes to the root logger, whose filters see only what is logged with it directly.
    logging.getLogger().addFilter(_is_not_of_tools)


def _is_not_of_tools(record: logging.LogRecord) -> bool:
    return "mcp" not in Path(record.pathname).parts
