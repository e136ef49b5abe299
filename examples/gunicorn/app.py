"""A WSGI program that says which release and process answers."""
import os
import time
from urllib.parse import parse_qs

RELEASE = open("RELEASE").read().strip()


def app(environ, start_response):
    ms = int(parse_qs(environ["QUERY_STRING"]).get("ms", ["0"])[0])
    time.sleep(ms / 1000)
    body = f"hello from release={RELEASE} pid={os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
