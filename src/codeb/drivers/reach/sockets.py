"""Reaching other machines by their sockets."""

import asyncio
import os

import httpx2


class SocketReach:
    async def tcp(self, host: str, port: int, seconds: float) -> str:
        writer = None
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return f"no answer within {seconds:g} s"
        except OSError as fault:
            return (os.strerror(fault.errno) if fault.errno else "no connection").lower()
        finally:
            if writer is not None:
                writer.close()
        return ""

    async def docker(self, address: str, seconds: float) -> str:
        """By `/_ping`, which needs no rights and says no more than OK."""
        kind, _, where = address.partition("://")
        transport = httpx2.AsyncHTTPTransport(uds=where) if kind == "unix" else httpx2.AsyncHTTPTransport()
        url = "http://docker/_ping" if kind == "unix" else f"http://{where}/_ping"
        try:
            async with asyncio.timeout(seconds), httpx2.AsyncClient(transport=transport, trust_env=False, timeout=None) as client:
                answer = await client.get(url)
        except TimeoutError:
            return f"no answer within {seconds:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as fault:
            return (str(fault)[:200] or type(fault).__name__).lower()
        return "" if answer.text.strip() == "OK" else f"what answers there is no Docker Engine (status {answer.status_code})"
