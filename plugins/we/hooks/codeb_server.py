"""The CodeB that this plugin is set up with, asked over HTTP with the user's own key."""

from __future__ import annotations

import http.client
import json
import os
from typing import Any
from urllib.parse import urlsplit

SECONDS = 3.0
LARGEST = 2**20


class NoAnswer(Exception):
    """CodeB is not set up here, does not answer, or refuses; the text is one sentence for a person, `code` the refusal's word."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


def ask_tool(tool: str, params: dict[str, Any]) -> dict[str, Any]:
    """The answer of a call that only looks. Raises `NoAnswer`."""
    url, key = os.environ.get("CLAUDE_PLUGIN_OPTION_URL", ""), os.environ.get("CLAUDE_PLUGIN_OPTION_API_KEY", "")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if not host or not key or parts.scheme not in ("http", "https"):
        raise NoAnswer("The plugin has no address or key of CodeB: `we claude install` sets it up.")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port, timeout=SECONDS)
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Connection": "close",
        "Authorization": f"Bearer {key}",
    }
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/api/tool", json.dumps({"tool": tool, "params": params}), headers)
        body = json.loads(connection.getresponse().read(LARGEST))
    except (OSError, ValueError, http.client.HTTPException) as fault:
        # never the address or the key as they were given: this text is shown
        raise NoAnswer(f"CodeB does not answer ({type(fault).__name__}).") from None
    finally:
        connection.close()
    if not isinstance(body, dict) or body.get("success") is not True:
        code = str(body.get("code") if isinstance(body, dict) else None)[:60]
        raise NoAnswer(f"CodeB refuses {tool} ({code}).", code)
    return body
