"""Train and valid records of an invented feature."""

import pytest

from tests.invented import invented_record


@pytest.fixture(scope="session")
def train():
    return [invented_record(i) for i in range(40)]


@pytest.fixture(scope="session")
def valid():
    return [invented_record(i) for i in range(40, 80)]
