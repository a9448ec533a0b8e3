"""Health by one HTTP request."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping

import httpx2

from codeb.model.specs import Address, Answer

CONNECT_SHARE = 0.9
"""of the time for a probe, to connect and shake hands: the client closes what it gives up itself, a handshake that is
cancelled from outside leaks its socket"""

# Only the status line and the headers are read: an endpoint that drips its body has answered.
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (httpx2.ConnectError, "no connection"),
    (httpx2.ReadError, "the connection broke before an answer came"),
    (httpx2.WriteError, "the connection broke before the request was sent"),
    (httpx2.ProtocolError, "the answer is not HTTP"),
)


class HttpHealth:
    """One GET per probe, on a new connection each time: a kept one would prove yesterday's process.

    The client object is kept, because making one costs as much as a probe. Environment proxies are ignored.
    """

    def __init__(self) -> None:
        # Certificates are not checked here, and only here: the socket goes to an address we chose on this machine,
        # the name is one we serve, and the question is whether something answers, not who signed for it.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        transport = httpx2.AsyncHTTPTransport(verify=context, limits=limits)
        self._client = httpx2.AsyncClient(transport=transport, timeout=None, trust_env=False, follow_redirects=False)

    async def probe(self, address: Address, seconds: float) -> Answer:
        name = address.host_header
        host = f"[{address.host}]" if ":" in address.host else address.host
        url = f"{'https' if address.tls else 'http'}://{host}:{address.port}{address.path}"
        headers = {"User-Agent": "CodeB-health", "Accept": "*/*", "Connection": "close", **dict(address.headers)}
        extensions: dict[str, object] = {}
        if name is not None:
            headers["Host"] = name
            if address.tls:
                extensions["sni_hostname"] = name.partition(":")[0]
        answer: Answer | None = None
        limits = httpx2.Timeout(None, connect=seconds * CONNECT_SHARE)
        try:
            async with asyncio.timeout(seconds):
                async with self._client.stream("GET", url, headers=headers, extensions=extensions, timeout=limits) as got:
                    answer = Answer(got.status_code, _slot(got.headers))
        except (TimeoutError, httpx2.TimeoutException):
            return answer or Answer(None, reason=f"no answer within {seconds:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ssl.SSLError) as error:
            return answer or Answer(None, reason=_reason(error))
        return answer

    async def close(self) -> None:
        with contextlib.suppress(httpx2.HTTPError):
            await self._client.aclose()


def _slot(headers: Mapping[str, str]) -> str | None:
    slot = headers.get("x-codeb-slot")
    return slot if slot in ("blue", "green") else None


def _reason(error: Exception) -> str:
    for kind, words in REASONS:
        if isinstance(error, kind):
            # what stands after the colon here is what the server sent: words of an application are no words of ours (S25)
            said = str(error).partition(":")[0][:200] if kind is httpx2.ProtocolError else str(error)[:200]
            return f"{words}: {said}" if said else words
    return str(error)[:200] or type(error).__name__
