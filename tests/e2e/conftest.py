"""Real parts for the end-to-end tests: images built once, one server per test module or per test."""

from collections.abc import Iterator

import pytest
from demo.images import Builder

from tests.e2e.nursery import QuickStage
from tests.stage import Stage

IMAGE = "codebtest-app"


@pytest.fixture(scope="session")
def builder() -> Builder:
    return Builder()


@pytest.fixture(scope="session")
def images(builder: Builder) -> dict[str, str]:
    """Tags of two versions of the sample app, without a HEALTHCHECK of their own."""
    tags = {version: f"{IMAGE}:{version}" for version in ("v1", "v2")}
    for version, tag in tags.items():
        builder.app(tag, version)
    return tags


@pytest.fixture
def stage() -> Iterator[Stage]:
    with QuickStage() as made:
        yield made
