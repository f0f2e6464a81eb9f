"""The fixture ``ea``: an Expert Advisor built with g++ and run under the test's control (see README.md here)."""

import pytest

from tests.mql.harness.build import missing_compiler
from tests.mql.harness.expert import Expert


@pytest.fixture
def ea(tmp_path):
    """Return a function that builds (once per source) and starts a program.

    ``ea("TickwireBridge.mq5", inputs={"InpHost": "127.0.0.1"}, answers=..., faults={"read_max": 3}, sanitized=True)``;
    all parameters are those of ``Expert.start``. What was started is ended after the test.
    """
    lacking = missing_compiler()
    if lacking:
        pytest.skip(lacking)
    started = []

    def start(name, **options):
        program = Expert.start(name, folder=tmp_path / f"terminal{len(started)}", **options)
        started.append(program)
        return program

    yield start
    for program in started:
        program.end()
