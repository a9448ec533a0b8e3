"""Shared by the tests of the entries."""

from tests.entry.door import door, http

__all__ = ["door", "http"]
