"""The HTTP entry: what stands before the routes (`protocol`, `peers`, `threshold`), the routes (`app`), and the `wire`."""

from codeb.entry.http.app import Http
from codeb.entry.http.threshold import Rules

__all__ = ["Http", "Rules"]
