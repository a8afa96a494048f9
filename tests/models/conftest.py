"""Failed assertions of the shared tests are explained as those of test modules are."""

import pytest

pytest.register_assert_rewrite("shared_model_tests", "tiny_parts")
