"""A scripted end of muster's: what the tests speak with."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import muster  # noqa: E402


class Agent:
    """Keeps what came until a test waits for it."""

    def __init__(self):
        self.sock, self.theirs = socket.socketpair()
        self.frames, self.ended, self._ring = [], False, threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest = b""
        while True:
            self._reading.wait()
            try:
                data = self.sock.recv(1 << 16)
            except OSError:
                data = b""
            with self._ring:
                *lines, rest = (rest + data).split(b"\n")
                self.frames += [json.loads(line) for line in lines]
                self.ended = not data
                self._ring.notify_all()
            if not data:
                return

    def next(self, match, timeout=30.0):
        """Takes the first frame that matches: an op, a cmd, or a function."""
        fits = match if callable(match) else lambda f: match in (f.get("op"), f.get("cmd"))
        until = time.monotonic() + timeout
        with self._ring:
            while True:
                for f in self.frames:
                    if fits(f):
                        self.frames.remove(f)
                        return f
                left = until - time.monotonic()
                if left <= 0 or self.ended:
                    raise AssertionError(f"no {match} came; there are {str(self.frames)[:2000]}")
                self._ring.wait(left)

    def none(self, match, seconds):
        """Makes sure that nothing that matches comes for a time."""
        try:
            f = self.next(match, seconds)
        except AssertionError:
            return
        raise AssertionError(f"{f} came")

    def send(self, frame):
        self.sock.sendall(json.dumps(frame).encode() + b"\n")

    def reply(self, to, body=None, **more):
        self.send(dict({"cmd": "MUSTER_REPLY", "id": to["id"], "body": body}, **more))

    def fail(self, to, code, text=""):
        self.send({"cmd": "MUSTER_REPLY", "id": to["id"], "error": {"code": code, "text": text or code}})

    def answer(self, op, body):
        f = self.next(op)
        self.reply(f, body)
        return f

    def tell(self, op, body=None, **more):
        self.send(dict({"cmd": "MUSTER_OP", "op": op, "body": body, "from": "muster"}, **more))

    def welcome(self, **more):
        return self.answer("hello", dict({"project": "p", "node": "n", "name": "web#0", "app": "web", "slot": 0, "heartbeat_ms": 0}, **more))

    def close(self):
        for sock in (self.sock, self.theirs):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


def start(agent, welcome=None, **options):
    """A Worker of this process, past hello, and what it logs."""
    errors = []
    m = muster.Worker(os.dup(agent.theirs.fileno()), dict({"log": errors.append}, **options), "")
    agent.welcome(**(welcome or {}))
    m.hello()
    return m, errors


def until(f, timeout=30.0):
    end = time.monotonic() + timeout
    while not f():
        if time.monotonic() > end:
            raise AssertionError("not in time")
        threading.Event().wait(0.002)


class Child(Agent):
    """A program on a channel."""

    def __init__(self, name, **env):
        super().__init__()
        all_env = dict(os.environ, MUSTER_APP="web", MUSTER_WORKER="0", MUSTER_CHANNEL_FD=str(self.theirs.fileno()), PYTHONUNBUFFERED="1")
        all_env.pop("MUSTER_SDK", None)
        all_env.update(env)
        self.child = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "programs.py"), name], env=all_env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[self.theirs.fileno()], text=True, start_new_session=True)
        self.theirs.close()

    def wait(self, timeout=30):
        """Its exit code, and what it wrote."""
        out, err = self.child.communicate(timeout=timeout)
        return self.child.returncode, out, err

    def kill(self):
        try:
            os.killpg(self.child.pid, 9)
        except ProcessLookupError:
            pass
        if not self.child.stdout.closed:
            self.child.communicate()
        self.close()
