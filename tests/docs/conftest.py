"""The small hub for the pages that push, started by `tests/hub_server.py`."""

from hub_server import hub_server  # noqa: F401  a fixture
