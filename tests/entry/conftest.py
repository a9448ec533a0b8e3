"""Shared by the tests of the entries."""

from tests.entry.door import door

__all__ = ["door"]
