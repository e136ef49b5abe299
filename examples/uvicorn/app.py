"""An ASGI program that says which release and process answers."""
import asyncio
import os
from urllib.parse import parse_qs

RELEASE = open("RELEASE").read().strip()


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    ms = int(parse_qs(scope["query_string"].decode()).get("ms", ["0"])[0])
    await asyncio.sleep(ms / 1000)
    body = f"hello from release={RELEASE} pid={os.getpid()}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
