"""The chat room in Python: see main.go, which does the same."""

import http.server
import json
import os
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "clients", "python"))
import muster  # noqa: E402

w = muster.open()
limiter = w.limiter("chat", rate=20, burst=20)
said = w.counter("said")
topics = w.cache("topics", ttl=3600)
heard, fills, held = [], 0, None


def who():
    return sorted([w.name] + [a.body for a in w.gather("all", "chat:who")])


def take(key):
    got = limiter.take(key)
    return "yes" if got else f"no, wait {got.wait} s"


def read_topic():
    global fills
    fills += 1
    with open(os.environ["TOPIC"]) as f:
        return f.read()


def set_topic(text):
    with w.lock("topic").hold():
        with open(os.environ["TOPIC"], "w") as f:
            f.write(text)
        topics.delete("topic")
    return ""


def hold(ms, lease):
    """Takes the lock for some time, and says its fence and from when to when it had it, by
    the clock that all processes of a host share."""
    global held
    mine = w.lock("hold", **({"lease": lease} if lease else {})).acquire()
    begin = time.monotonic_ns()
    held = mine
    if mine.lost.wait(ms / 1000):
        raise mine.error
    held = None
    end = time.monotonic_ns()
    mine.release()
    return f"{mine.fence} {begin} {end}"


ANSWERS = {
    "POST /say": lambda q: str(w.publish("room", q["text"])["receivers"]),
    "GET /heard": lambda q: heard,
    "GET /who": lambda q: who(),
    "GET /ask": lambda q: w.request(q["to"], "chat:echo", q["text"]),
    "POST /take": lambda q: take(q["key"]),
    "POST /add": lambda q: str(said.add(int(q["n"]))),
    "GET /topic": lambda q: topics.fill("topic", read_topic),
    "PUT /topic": lambda q: set_topic(q["text"]),
    "GET /fills": lambda q: str(fills),
    "POST /hold": lambda q: hold(int(q["ms"]), int(q.get("lease", 0)) / 1000),
    "GET /held": lambda q: held.token if held else "",
    "POST /op": lambda q: w.request(q.get("to", ""), q["op"], json.loads(q.get("body", "null"))),
}


class Room(http.server.BaseHTTPRequestHandler):
    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        status = 200
        try:
            value = ANSWERS[f"{self.command} {url.path}"](query)
            text = value if isinstance(value, str) else json.dumps(value)
        except KeyError:
            status, text = 404, ""
        except muster.MusterError as e:
            status, text = 503, f"{e.code}: {e}"
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *args):
        pass


w.handle("chat:echo", lambda text, request: f"{w.name}: {text}")
w.handle("chat:who", lambda body, request: w.name)
w.subscribe("room", lambda text, request: heard.append(text))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Room).serve_forever()
