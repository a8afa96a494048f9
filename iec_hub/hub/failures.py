"""What can go wrong between this machine and the Hub: which of it passes, and one sentence for what does not."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from iec_hub.data.labels import shown
from iec_hub.errors import HubError

TRIES = 5
FIRST_WAIT = 1.0  # seconds, doubled from try to try
LONGEST_WAIT = 300.0  # seconds; who is asked to wait longer is told so instead
LONGEST_SILENCE = 300.0  # seconds without a byte; the client itself would wait for ever for a server that has died
TOKEN_PAGE = "https://huggingface.co/settings/tokens"
LOG_IN = f"run `hf auth login`, or set HF_TOKEN to a token with write access ({TOKEN_PAGE})"

# Requests that the client itself has already repeated when they fail.
_REPEATED_BY_CLIENT = re.compile(r"/preupload/|\.git/info/lfs/|/lfs/")
_TOKEN = re.compile(r"hf_\w+")

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


def retried(step: Callable[[], Result], target: str) -> Result:
    """Run a step on the Hub, again where the failure may pass: no connection, too many requests, the Hub's own errors.

    The client repeats uploads by itself, but neither commits nor what concerns repositories, branches and tags.

    Args:
        step: can be run any number of times.
        target: the repository's name, for the sentence.

    Raises:
        HubError: with one sentence, when it does not pass.
    """
    wait = FIRST_WAIT
    for tries_left in reversed(range(TRIES)):
        try:
            with _limited_silence():
                return step()
        # The client raises errors of many kinds, its transport's and Python's among them.
        except Exception as error:
            cause = _cause(error)
            pause = _seconds_to_wait(cause, wait) if tries_left else None
            if pause is None:
                raise HubError(_sentence(cause, target)) from error
            logger.warning("The Hub could not be asked (%s); trying again in %.0f s.", _kind(cause), pause)
            time.sleep(pause)
            wait *= 2
    raise AssertionError("the last try returns or raises")


@contextmanager
def _limited_silence() -> Iterator[None]:
    from huggingface_hub import get_session

    session = get_session()
    before = session.timeout
    session.timeout = LONGEST_SILENCE
    try:
        yield
    finally:
        session.timeout = before


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _cause(error: BaseException) -> BaseException:
    """What the Hub or the network said, within what the client made of it."""
    from huggingface_hub.errors import HTTPError

    return next((one for one in _chain(error) if isinstance(one, HTTPError)), error)


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)


def _seconds_to_wait(error: BaseException, wait: float) -> float | None:
    """How long to wait before another try; None where that would be of no use."""
    from huggingface_hub.errors import HTTPError

    status = _status(error)
    if status is not None and status not in (408, 429) and status < 500:
        return None
    # An answer that is no JSON where JSON is due: a proxy's page, as with other errors of servers.
    if not isinstance(error, HTTPError | json.JSONDecodeError):
        return None
    if _REPEATED_BY_CLIENT.search(_url(error)):
        return None
    asked = _retry_after(error)
    if asked is None:
        return wait
    return asked if asked <= LONGEST_WAIT else None


def _url(error: BaseException) -> str:
    for owner in (getattr(error, "response", None), error):
        try:
            return str(owner.request.url)  # type: ignore[union-attr]
        except (AttributeError, RuntimeError):  # the transport raises where no request is known
            continue
    return ""


def _retry_after(error: BaseException) -> float | None:
    """The seconds that the Hub asks to wait."""
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    if (value := headers.get("Retry-After", "")).strip().isdigit():
        return float(value)
    # The other way that the Hub says it: "api";r=0;t=55
    match = re.search(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)", headers.get("RateLimit", ""))
    return float(match[1]) if match and _status(error) == 429 else None


def _kind(error: BaseException) -> str:
    status = _status(error)
    return f"status {status}" if status else type(error).__name__


def _sentence(error: BaseException, target: str) -> str:
    """One sentence that says what is wrong and what to do."""
    from huggingface_hub import errors

    name = shown(target)
    status = _status(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "The Hub is switched off by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE; unset it and push again."
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"Pushing needs a login; {LOG_IN}."
    if isinstance(error, errors.HFValidationError):
        return wrong_name(target)
    if status is not None:
        return _refusal(error, status, name, target)
    if isinstance(error, errors.HTTPError | ConnectionError | json.JSONDecodeError):
        return f"The Hub cannot be reached, or hung up; check the connection and push {name} again."
    if isinstance(error, OSError):
        return f"A file could not be read while {name} was being pushed{_words(error)}; push again."
    return f"{name} could not be pushed{_words(error)}; push again, or look the error up ({type(error).__name__})."


def _refusal(error: Any, status: int, name: str, target: str) -> str:
    """The sentence for an answer of the Hub that is an error."""
    from huggingface_hub import errors

    words = _words(getattr(error, "server_message", None))
    owner = shown(target.split("/")[0]) if "/" in target else "your own name"
    if "/api/validate-yaml" in _url(error) and status == 400:
        return f"The Hub refuses the metadata at the top of README.md{words}; correct it and push again."
    if status == 401:
        return f"The Hub does not accept this token{words}; {LOG_IN}."
    if status == 402:
        return f"The Hub wants a payment method for this{words}; add one in the settings, or ask for less."
    if status == 403:
        return (
            f"This token may not write to {name}{words}; it needs write access to the name-space {owner} "
            f"({TOKEN_PAGE}), or choose a name of your own."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no such branch{words}; check --revision and push again."
    if status == 404:
        return f"There is no {name} that this token can see; check the name, and what the token gives access to."
    if status in (409, 412):
        return f"Somebody else changed {name} during the push{words}; look at the change there, and push again."
    if status == 429:
        seconds = _retry_after(error)
        when = f"in {seconds:.0f} seconds" if seconds else "in some minutes"
        return f"The Hub asks for fewer requests; push {name} again {when}."
    if status >= 500:
        return f"The Hub has trouble of its own (status {status}); push {name} again later."
    return f"The Hub refuses {name} with status {status}{words}; correct that and push again."


def wrong_name(name: str) -> str:
    """The sentence for what cannot be a repository's name."""
    return (
        f"{shown(name)} cannot be a name on the Hub; a name is OWNER/NAME, of letters, digits, '-', '_' and '.', with "
        "at most 96 characters."
    )


def _words(said: object) -> str:
    """What somebody else said, in brackets: untrusted, on one line, short, and never with a token in it."""
    text = "".join(c for c in " ".join(str(said or "").split()) if c.isprintable())
    text = _TOKEN.sub("hf_***", text).rstrip(".")
    return f" ({text[:200]})" if text else ""


__all__ = ["LOG_IN", "retried", "wrong_name"]
