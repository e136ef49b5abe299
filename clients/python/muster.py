"""One end of muster's operations for a Python program (3.9 or newer, standard library).

It asks other processes, answers them, publishes and subscribes, and shares limiters,
locks, counters and caches with them. README.md beside it is the manual.

    import muster
    m = muster.open()
    m.request("web", "chat:echo", "hello")            # in threads
    await m.aio.request("web", "chat:echo", "hello")  # in asyncio: the same, awaited

Model: a daemon thread has an asyncio loop of its own, and in it _Core, which owns the
channel and all state. Every call is a coroutine of the core's; a thread waits for it,
another loop awaits it. Functions of the program run in threads, coroutine functions in
the loop that they were registered in.

Invariants: the program is never kept alive by this file; ids grow; what waits to be
sent and to be dealt with is bounded; a process that was forked never uses the channel
of its parent. Times are seconds. Every error is a MusterError with a stable code.
"""

import asyncio
import atexit
import codeop
import collections
import contextvars
import fcntl
import hmac
import inspect
import json
import math
import os
import queue
import secrets
import signal
import socket
import stat
import struct
import sys
import threading
import time
import traceback

__all__ = ["open", "is_worker", "Worker", "MusterError", "Answer", "Request", "Taken", "Held"]

BODY_MAX = 1 << 20  # bytes of JSON
NAME_MAX = 200  # bytes
HOPS_MAX = 16  # handlers that a message may come through
WITHIN = 30.0  # a request waits so long if nothing is said
WITHIN_MAX = 24 * 3600.0
SLACK = 1.0  # beyond muster's own deadline
PRIMITIVE = 5.0  # for an answer that needs no waiting
ASKED_MAX = 1024  # requests under way
ANSWERED_MAX = 256  # handlers that run or wait for a thread
THREADS_MAX = 64
QUEUED_MAX = 1024  # messages that wait for a subscription
WAITING_FRAMES = 1024  # not yet written, likewise:
WAITING_BYTES = 4 << 20
LINE_MAX = 16 << 20
LEASE = 10.0
STACK_MAX = 16 << 10  # characters of a crash notice's stack
STOP = 10.0  # for the hooks of on_stop

_OWN_OPS = ("commands:run", "console:open", "console:close")
_HARMLESS = frozenset(
    "hello peers subscribe unsubscribe listen unlisten commands commands:add commands:remove status counter:get".split()
)

_hops = contextvars.ContextVar("muster_hops", default=0)  # of a message sent now


class MusterError(Exception):
    """Every error of this file, and of a reply. code (E-…) is stable; from_ is who replied."""

    def __init__(self, code, text, fix="", from_=""):
        super().__init__(text)
        self.code, self.text, self.fix, self.from_ = code, text, fix, from_


def _usage(text, fix):
    return MusterError("E-USAGE", text, fix)


def _check_name(what, name):
    if not isinstance(name, str) or not name:
        raise _usage(f"{what} has no name", "give it a name")
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > NAME_MAX:
        raise _usage(f"the name of {what} has {size} bytes, {NAME_MAX} are allowed", "choose a shorter name")


def _encode(body):
    """The JSON of a body, in bytes; refuses what cannot be sent before anything is."""
    try:
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        try:
            data = text.encode()
        except UnicodeEncodeError:  # half a character of UTF-16
            data = json.dumps(body, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as e:
        raise _usage(f"the body cannot be written as JSON: {e}", "send plain values") from None
    if len(data) > BODY_MAX:
        raise MusterError(
            "E-TOO-LARGE", f"the body has {len(data)} bytes of JSON, {BODY_MAX} are allowed",
            "send less at a time, or the name of a file")
    return data


def _envelope(op, body):
    """The ways to say what is sent: an op and its body; a dict with its op within, or
    the JSON text of one, whose other fields are the body."""
    if isinstance(op, str) and op.lstrip().startswith("{"):
        try:
            op = json.loads(op)
        except ValueError as e:
            raise _usage(f"the message is no JSON object: {e}", 'write it like {"op": "chat:say", "text": "hello"}') from None
    if isinstance(op, dict):
        body = {k: v for k, v in op.items() if k != "op"} or None
        op = op.get("op")
    _check_name("the op", op)
    return op, body


def _said(error, from_=""):
    return MusterError(str(error.get("code") or "E-INTERNAL"), str(error.get("text") or error.get("code")),
                       error.get("fix") or "", from_)


def _fault_of(error):
    code = getattr(error, "code", None)
    if not (isinstance(code, str) and code.startswith("E-")):
        code = "E-HANDLER"
    text = error.text if isinstance(error, MusterError) else f"{type(error).__name__}: {error}"
    fault = {"code": code, "text": text}
    if getattr(error, "fix", ""):
        fault["fix"] = str(error.fix)
    return fault


def _shared(op):
    return op.startswith(("limiter:", "counter:", "lock:", "cache:"))


def _harmless(op):
    """Doing it twice is doing it once."""
    return op in _HARMLESS or op.startswith(("lock:", "cache:"))


class _Threads:
    """Daemon threads for functions of the program: a hanging one does not hold up the end."""

    def __init__(self, most):
        self._most, self._threads, self._pending = most, 0, 0
        self._lock, self._line = threading.Lock(), queue.SimpleQueue()

    def run(self, f):
        with self._lock:
            grow = self._pending >= self._threads and self._threads < self._most
            self._threads += grow
            self._pending += 1
        self._line.put(f)
        if grow:
            threading.Thread(target=self._work, name="muster", daemon=True).start()

    def _work(self):
        while True:
            f = self._line.get()
            try:
                f()
            except BaseException:  # f deals with its own errors; the thread goes on
                traceback.print_exc()
            with self._lock:
                self._pending -= 1


class _Wire:
    """Lines of JSON on a socket, in the core's loop."""

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)
        self.sock.set_inheritable(False)
        self.sock.setblocking(False)
        self.open = True
        self._out, self._bytes, self._in = collections.deque(), 0, bytearray()

    def start(self, loop, line, end):
        self._loop, self._line, self._end = loop, line, end
        loop.add_reader(self.sock, self._read)

    def check(self, size):
        if len(self._out) >= WAITING_FRAMES or self._bytes + size > WAITING_BYTES:
            raise MusterError("E-CHANNEL-FULL", "muster does not read as fast as this process sends", "send less, or later")

    def send(self, data):
        if not self.open:
            return
        data += b"\n"
        if not self._out:
            data = data[self._write(data):]
            if not data or not self.open:
                return
            self._loop.add_writer(self.sock, self._flush)
        self._out.append(data)
        self._bytes += len(data)

    def _write(self, data):
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0

    def _flush(self):
        while self._out and self.open:
            data = self._out[0]
            n = self._write(data)
            self._bytes -= n
            if n < len(data):
                if self.open:
                    self._out[0] = data[n:]
                return
            self._out.popleft()
        if self.open:
            self._loop.remove_writer(self.sock)

    def _read(self):
        try:
            data = self.sock.recv(1 << 18)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            return self.close()
        first, *rest = data.split(b"\n")
        self._in += first
        if rest:
            lines = [bytes(self._in), *rest[:-1]]
            self._in = bytearray(rest[-1])
            for line in lines:
                if line:
                    self._line(line)
        if len(self._in) > LINE_MAX:
            self.close()

    def close(self):
        if not self.open:
            return
        self.open = False
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        self.sock.close()
        self._end()


class Request:
    """What a handler gets beside the body."""

    def __init__(self, f):
        self.op, self.from_, self.pid = f.get("op"), f.get("from") or "muster", f.get("pid")
        self.channel = f.get("channel")  # of a published message
        self.asked = "id" in f  # a reply is waited for
        self.hops = f.get("hops") or 0
        within = f.get("within") or 0
        self._until = time.monotonic() + within / 1000 if within > 0 else None
        self._over = threading.Event()
        self._task = None

    @property
    def left(self):
        """Seconds that the asker goes on waiting; None: not said."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    @property
    def over(self):
        """Whether nobody waits for the reply any more."""
        return self._over.is_set() or self._until is not None and time.monotonic() > self._until

    def _end(self):
        self._over.set()
        if self._task is not None:
            self._task()


class Answer:
    """One process's part of a gather: body, or error; missing: it has not answered."""

    def __init__(self, from_, pid=None, body=None, error=None, missing=False):
        self.from_, self.pid, self.body, self.error, self.missing = from_, pid, body, error, missing

    def __repr__(self):
        return f"Answer({self.from_!r}, {self.error or self.body!r})"


class _Asked:
    """A request under way."""

    def __init__(self, op, to, head, data, more, at):
        self.op, self.to, self.head, self.data, self.more, self.at = op, to, head, data, more, at
        self.done = None  # a future of the core's loop

    def line(self, again=False):
        head = dict(self.head, again=True) if again else self.head
        return _line(head, self.data)


def _line(head, data=None):
    text = json.dumps(head, separators=(",", ":")).encode()
    return text if data is None else text[:-1] + b',"body":' + data + b"}"


class _Core:
    """All state of one end, in a loop of its own. Methods run in that loop, but those
    that say otherwise."""

    def __init__(self, fd, options, why):
        self.pid, self.why, self.options = os.getpid(), why, options
        self.alone = fd is None
        self.app = os.environ.get("MUSTER_APP", "") if not self.alone else ""
        self.welcome, self.settings = None, {}
        self.asked, self.answering, self.running = {}, {}, 0
        self.next = time.time_ns() // 1000
        self.handlers, self.listeners, self.channels, self.commands = {}, [], {}, {}
        self.caches, self.events = {}, collections.defaultdict(list)
        self.counts = {"unreadable": 0, "late": 0, "dropped": 0}
        self.over, self.console, self.beat = None, None, None
        self.ended = threading.Event()
        self.threads, self.local = _Threads(THREADS_MAX), _Local()
        self.loop = asyncio.new_event_loop()
        self.hello = None
        self.wire = None if self.alone else _Wire(fd)
        for op, f in (options.get("handlers") or {}).items():
            self.handlers.setdefault(op, []).append(_Own(f))
        self.thread = threading.Thread(target=self._run, name="muster", daemon=True)
        self.thread.start()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        if self.wire is not None:
            self.loop.call_soon(self._begin)
        self.loop.run_forever()

    def _begin(self):
        self.wire.start(self.loop, self._hear, self._ended)
        self._say_hello()

    def _say_hello(self):
        """The first word to every agent. Its answer is waited for as long as it takes."""
        body = {"sdk": self.options.get("sdk") or "python/1"}
        self.hello = asyncio.ensure_future(self._greeted(self._ask(0, "", "hello", body, WITHIN_MAX, own=True, at=self._welcomed)))

    async def _greeted(self, asked):
        """Why this process was not welcomed; None: it was."""
        try:
            await self._wait(asked, WITHIN_MAX)
        except MusterError as e:
            if self.over is None:
                self.log(f"this process takes no part in operations: {e}")
            return e
        return None

    def _welcomed(self, welcome):
        self.welcome = welcome if isinstance(welcome, dict) else {}
        self.app = self.welcome.get("app") or ""
        self._settle(self.welcome)

    def submit(self, coro):
        """Runs a coroutine in the loop; from any thread."""
        return asyncio.run_coroutine_threadsafe(coro, self.loop)

    def soon(self, f, *args):
        """Calls a function in the loop; from any thread."""
        self.loop.call_soon_threadsafe(f, *args)

    def log(self, text):
        """From any thread."""
        log = self.options.get("log")
        if log:
            log(text)
        else:
            print(f"muster: {text}", file=sys.stderr, flush=True)

    def alone_error(self, op):
        return MusterError("E-ALONE", f"{op} needs other processes, and this one has none: {self.why}",
                           "start it by `muster run` or `muster up`")

    # -- asking

    def _head(self, hops, op, to="", **more):
        if hops > HOPS_MAX:
            raise MusterError("E-TOO-DEEP", f"{op} was sent from within {hops} handlers of each other's messages")
        if not isinstance(to or "", str):
            raise _usage("to is no text", 'name a selector: web#1, web, tag:edge; "" for muster')
        head = {"cmd": "MUSTER_OP", "op": op}
        if to:
            head["to"] = to
        head.update(more)
        if hops:
            head["hops"] = hops
        return head

    async def ask(self, hops, to, op, body=None, within=WITHIN, **how):
        """Sends a request and waits for its reply."""
        return await self._wait(self._ask(hops, to, op, body, within, **how), within)

    def _ask(self, hops, to, op, body, within, own=False, all=False, more=None, at=None):
        """Sends a request. own: one of this file's. at has the answer at once, before the
        frames that follow it."""
        head = self._head(hops, op, to, **({"all": True} if all else {}))
        data = _encode(body) if body is not None else None
        if within != -1 and not within > 0:
            raise _usage(f"within is {within}", "write seconds, above 0")
        if self.alone:
            raise self.alone_error(op)
        if self.over:
            raise self.over
        if len(self.asked) >= ASKED_MAX and not own:
            raise MusterError("E-TABLE-FULL", f"{len(self.asked)} requests are under way already", "wait for replies before asking more")
        self.wire.check(len(data or b""))
        self.next += 1
        head["id"] = self.next
        head["within"] = -1 if within == -1 else max(1, math.ceil(min(within, WITHIN_MAX) * 1000))
        asked = self.asked[self.next] = _Asked(op, to, head, data, more, at)
        asked.done = self.loop.create_future()
        self.wire.send(asked.line())
        return asked

    async def _wait(self, asked, within):
        try:
            return await asyncio.wait_for(asked.done, (WITHIN if within == -1 else min(within, WITHIN_MAX)) + SLACK)
        except asyncio.TimeoutError:
            raise MusterError("E-DEADLINE", f"no reply to {asked.op} has come in time",
                              "give it more time; look at what keeps the receiver busy") from None
        finally:
            ident = asked.head["id"]
            if self.asked.pop(ident, None) is not None and self.over is None:
                self.wire.send(_line({"cmd": "MUSTER_CANCEL", "id": ident}))

    async def request(self, hops, to, op, body, within):
        if self.alone and not to:
            if _shared(op):
                return await self.local.ask(op, body or {})
            if op == "ping":
                return body
        return await self.ask(hops, to, op, body, within)

    async def tell(self, hops, to, op, body):
        _named(to, "told")
        if self.alone:
            _encode(body)
            return {"receivers": 0}
        return await self.ask(hops, to, op, body, within=-1, all=True)

    async def send(self, hops, to, op, body):
        head, data = self._head(hops, op, to), _encode(body) if body is not None else None
        if self.alone:
            return
        if self.over:
            raise self.over
        self.wire.check(len(data or b""))
        self.wire.send(_line(head, data))

    async def gather_begin(self, hops, to, op, body, within):
        _named(to, "asked")
        line = asyncio.Queue()

        async def ask():
            try:
                line.put_nowait((True, await self.ask(hops, to, op, body, within, all=True, more=lambda f: line.put_nowait((False, f)))))
            except MusterError as e:
                line.put_nowait((True, e))

        return line, asyncio.ensure_future(ask())

    async def primitive(self, hops, op, body, within=PRIMITIVE, own=True, at=None):
        """Asks muster for something shared; alone this process has it for itself."""
        if self.alone:
            _encode(body)
            return await self.local.ask(op, body)
        for tries in range(4):
            try:
                return await self.ask(hops, "", op, body, within, own=own, at=at)
            except MusterError as e:
                if e.code != "E-AGENT-REPLACED" or not _harmless(op) or tries == 3:
                    raise

    def note(self, op, body=None):
        """Tells muster something of this file's own."""
        if not self.alone and self.over is None:
            self.wire.send(_line({"cmd": "MUSTER_OP", "op": op}, None if body is None else _encode(body)))

    def plain(self, frame):
        if not self.alone and self.over is None:
            self.wire.send(_line(frame))

    # -- what comes

    def _hear(self, line):
        try:
            f = json.loads(line)
        except (ValueError, RecursionError):
            return self._unreadable()
        cmd = f.get("cmd") if isinstance(f, dict) else None
        if not isinstance(cmd, str) or not cmd.startswith(("MUSTER_", "NODE_")):
            return self.emit("message", f)
        if cmd.startswith("NODE_"):
            cmd = cmd[5:]
        if cmd == "MUSTER_PING":
            self.wire.send(_line({"cmd": "MUSTER_PONG", "id": f.get("id")}))
        elif cmd == "MUSTER_REPLY":
            self._replied(f)
        elif cmd == "MUSTER_CANCEL":
            request = self.answering.get(f.get("id"))
            if request:
                request._end()
        elif cmd == "MUSTER_OP":
            if not isinstance(f.get("op"), str):
                self._unreadable()
            elif f.get("channel"):
                self._published(f)
            else:
                self._told(f)

    def _unreadable(self):
        self.counts["unreadable"] += 1
        if self.counts["unreadable"] == 1:
            self.log("a frame cannot be read; more of them are only counted")

    def _replied(self, f):
        asked = self.asked.get(f.get("id"))
        if asked is None:
            self.counts["late"] += 1
        elif f.get("more"):
            if asked.more:
                asked.more(f)
        else:
            del self.asked[f["id"]]
            self._finish(asked, f.get("error") and _said(f["error"], f.get("from") or ""), f.get("body"))

    def _finish(self, asked, error, body=None):
        if asked.done.done():
            return
        if error:
            asked.done.set_exception(error)
        else:
            if asked.at:
                asked.at(body)
            asked.done.set_result(body)

    def _told(self, f):
        """Acts on what muster tells this file; all else is for handlers."""
        body, op = f.get("body"), f["op"]
        body = body if isinstance(body, dict) else {}
        if op in ("cache:del", "cache:drop"):
            for cache in list(self.caches.get(body.get("cache"), ())):
                cache._outdate(body.get("key")) if op == "cache:del" else cache._forget()
            return
        if f.get("from") in (None, "", "muster"):
            if op == "agent:new":
                return self._agent(body)
            if op == "gap":
                return self.gap(max(1, body.get("missed") or 0))
            if op == "config:changed":
                self._settle(body)
                self.emit("config", body)
            elif op in _OWN_OPS:
                own = {"commands:run": self._run_command, "console:open": self._open_console, "console:close": self._close_console}
                return self._answer(f, [_Own(own[op])], True)
        own = self.handlers.get(op)
        heard = [own[-1]] if own else []
        heard += [o for ops, o in self.listeners if op in ops or "*" in ops]
        self._answer(f, heard, bool(own))

    def _agent(self, info):
        """Goes on with another agent: what cannot be repeated without harm fails."""
        self.forget_caches()
        for request in list(self.answering.values()):
            request._end()
        self.answering.clear()
        before = list(self.asked.items())
        if not any(asked.op == "hello" for _, asked in before):
            self._say_hello()  # else it is the first of them
        for ident, asked in before:
            if asked.to or not (_shared(asked.op) or asked.op in _HARMLESS):
                del self.asked[ident]
                self._finish(asked, MusterError("E-AGENT-REPLACED", f"another agent has taken over before {asked.op} was answered",
                                                "ask again if that does no harm"))
            else:
                self.wire.send(asked.line(again=True))
        for caches in self.caches.values():
            for cache in caches:
                cache._use(self)
        self.emit("agent", info)

    def _ended(self):
        if self.over is not None:
            return
        self.over = MusterError("E-AGENT-UNREACHABLE", "the channel to muster has ended", "muster, or this worker, is about to end")
        if self.beat:
            self.beat.cancel()
        for caches in self.caches.values():
            for cache in caches:
                cache._lose()
        for asked in self.asked.values():
            self._finish(asked, self.over)
        self.asked.clear()
        if self.console:
            self.console.close()
        self.ended.set()
        self.emit("end")

    def emit(self, event, *args):
        for own in list(self.events[event]):
            self._start(own, args, 0, None, lambda value, error: error and self._failed(f"what hears {event}", error))

    def gap(self, missed):
        self.counts["dropped"] += missed
        self.forget_caches()
        self.emit("gap", missed)

    def forget_caches(self):
        for caches in self.caches.values():
            for cache in caches:
                cache._forget()

    def _settle(self, settings):
        self.settings = settings
        if self.beat:
            self.beat.cancel()
        every = (settings.get("heartbeat_ms") or 0) / 5000
        self.beat = self.loop.create_task(self._beats(every)) if every > 0 else None

    async def _beats(self, every):
        alive = self.options.get("alive")
        while self.over is None:
            try:
                if alive is None or alive():
                    self.note("heartbeat")
            except Exception as e:
                self._failed("alive", e)
            await asyncio.sleep(every)

    # -- answering

    def _answer(self, f, heard, answers):
        """Lets the program deal with a frame. answers: the first of them replies, else
        the first that returns something."""
        unknown = MusterError("E-UNKNOWN-OP", f"nothing here answers {f['op']}")
        if not heard:
            return "id" in f and self._reply(f, unknown)
        if self.running + len(heard) > ANSWERED_MAX and f["op"] not in _OWN_OPS:
            if "id" not in f:
                return self.gap(1)
            return self._reply(f, MusterError("E-TABLE-FULL", f"{self.running} requests are being answered already",
                                              "ask again later, or ask more workers"))
        request = Request(f)
        if "id" in f:
            self.answering[f["id"]] = request
        left = [len(heard)]
        self.running += len(heard)

        def done(first, value, error):
            self.running -= 1
            left[0] -= 1
            if error is not None:
                self._failed(f"the handler of {f['op']}", error)
            if first if answers else error is not None or value is not None:
                self._reply_once(f, request, error, value)
            if left[0] == 0:
                self._reply_once(f, request, unknown)

        for i, own in enumerate(heard):
            self._start(own, (f.get("body"), request), request.hops + 1, request, lambda v, e, first=i == 0: done(first, v, e))

    def _failed(self, what, error):
        if not isinstance(error, MusterError):
            self.log(f"{what} has failed:\n" + "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip())

    def _start(self, own, args, hops, request, done):
        """Runs code of the program; what it sends counts as sent from within. done is
        called in the core's loop."""
        args = own.args(args)

        def finish(value=None, error=None):
            try:
                self.soon(done, value, error)
            except RuntimeError:  # the loop has ended with the program
                pass

        def call():
            _hops.set(hops)
            try:
                value = own.f(*args)
            except BaseException as e:
                return finish(error=e)
            finish(value)

        async def await_it():
            _hops.set(hops)
            try:
                value = await own.f(*args)
            except asyncio.CancelledError:
                return finish(error=MusterError("E-INTERRUPTED", "it was given up"))
            except BaseException as e:
                return finish(error=e)
            finish(value)

        if not own.awaited:
            return self.threads.run(lambda: contextvars.copy_context().run(call))
        loop = own.loop if own.loop is not None and own.loop.is_running() else self.loop
        task = asyncio.run_coroutine_threadsafe(await_it(), loop)
        if request is not None:
            request._task = task.cancel

    def _reply_once(self, f, request, error, value=None):
        if "id" in f and self.answering.get(f["id"]) is request:
            del self.answering[f["id"]]
            self._reply(f, error, value)

    def _reply(self, f, error, value=None):
        head, data = {"cmd": "MUSTER_REPLY", "id": f["id"]}, None
        if error is None:
            try:
                data = _encode(value)
            except MusterError as e:
                error = e
        if error is not None:
            head["error"] = _fault_of(error)
        if self.over is None:
            self.wire.send(_line(head, data))

    async def listen(self, hops, ops, own):
        self.listeners.append((ops, own))
        try:
            if not self.alone:
                await self.primitive(hops, "listen", {"ops": ops})
        except BaseException:
            self.unlisten(ops, own)
            raise

    def unlisten(self, ops, own):
        if (ops, own) not in self.listeners:
            return
        self.listeners.remove((ops, own))
        left = [op for op in ops if not any(op in other for other, _ in self.listeners)]
        if left:
            self.note("unlisten", {"ops": left})

    # -- publishing

    def _channel(self, channel):
        _check_name("the channel", channel)
        return self.app + channel if channel.startswith(":") else channel

    async def publish(self, hops, channel, message, op, to_self):
        body = {"channel": self._channel(channel), "message": message}
        if op:
            body["op"] = op
        if to_self:
            body["self"] = True
        if not self.alone:
            return await self.ask(hops, "", "publish", body)
        head, text = self._head(hops, op or "message", channel=body["channel"]), _encode(message)
        queues = [q for c, q in self.channels if c == body["channel"] and to_self]
        for q in queues:
            self._published(dict(head, queue=q, body=json.loads(text)))
        return {"receivers": min(len(queues), 1)}

    async def subscribe(self, hops, channel, queue_name, own):
        channel = self._channel(channel)
        key = channel, queue_name
        subs = self.channels.setdefault(key, {"queue": queue_name, "all": []})
        sub = _Subscription(own)
        subs["all"].append(sub)
        try:
            if not self.alone:
                await self.primitive(hops, "subscribe", {"channel": channel, "queue": queue_name})
        except BaseException:
            self.unsubscribe(key, sub)
            raise
        return key, sub

    def unsubscribe(self, key, sub):
        subs = self.channels.get(key)
        if not subs or sub not in subs["all"]:
            return
        subs["all"].remove(sub)
        if not subs["all"]:
            del self.channels[key]
            self.note("unsubscribe", {"channel": key[0], "queue": key[1]})

    def _published(self, f):
        subs = self.channels.get((f["channel"], f.get("queue") or ""))
        if not subs:
            return
        heard = list(subs["all"])
        if subs["queue"]:
            subs["all"].append(subs["all"].pop(0))  # the next one's turn
            heard = heard[:1]
        missed = 0
        for sub in heard:
            if len(sub.line) >= QUEUED_MAX:
                missed += 1
                continue
            sub.line.append(f)
            if not sub.busy:
                self._deliver(sub)
        if missed:
            self.gap(missed)

    def _deliver(self, sub):
        """One message after the other."""
        sub.busy = bool(sub.line)
        if not sub.line:
            return
        f = sub.line.popleft()
        request = Request(f)

        def done(value, error):
            if error is not None:
                self._failed(f"a subscription to {f['channel']}", error)
            self._deliver(sub)

        self._start(sub.own, (f.get("body"), request), request.hops + 1, None, done)

    # -- commands, console

    async def add_command(self, hops, command, f):
        self.commands[command["name"]] = f
        try:
            if not self.alone:
                await self.primitive(hops, "commands:add", {"commands": [command]})
        except BaseException:
            self.remove_command(command["name"], f)
            raise

    def remove_command(self, name, f):
        if self.commands.get(name) is f:
            del self.commands[name]
            self.note("commands:remove", {"commands": [{"name": name}]})

    async def _run_command(self, call):
        name = (call or {}).get("name")
        own = self.commands.get(name)
        if own is None:
            raise MusterError("E-UNKNOWN-OP", f"this process offers no command {name!r}", "`help` lists the commands")
        done = self.loop.create_future()
        self._start(own, ((call.get("args") or {}),), _hops.get(), None,
                    lambda value, error: done.set_exception(error) if error else done.set_result(value))
        value = await done
        return "" if value is None else value

    async def _open_console(self):
        if self.console is None or self.console.closed:
            console = _Console(self.welcome or {}, self.options.get("worker"))
            try:
                console.open(self.settings)
            except OSError as e:
                raise MusterError("E-CONSOLE", f"the console cannot be opened: {e}") from None
            self.console = console
        return self.console.place

    async def _close_console(self):
        if self.console:
            self.console.close()
        return {}

    def forked(self):
        """In a child: the channel is the parent's. Its loop must not be touched: what it
        polls with is the parent's, too."""
        if self.wire is not None and self.wire.open:
            self.wire.open = False
            os.close(self.wire.sock.detach())
        if self.console:
            self.console.forked()


class _Own:
    """A function of the program, and where it runs."""

    def __init__(self, f):
        if not callable(f):
            raise _usage(f"a {type(f).__name__} is no function", "give a function")
        self.f = f
        self.awaited = inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(getattr(f, "__call__", None))
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            self.loop = None
        try:
            given = inspect.signature(f).parameters.values()
            many = any(p.kind == p.VAR_POSITIONAL for p in given)
            self._most = None if many else sum(
                p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in given)
        except (TypeError, ValueError):
            self._most = 1

    def args(self, args):
        """A function may take fewer arguments than there are; those with defaults are its own."""
        return args if self._most is None else args[:self._most]


class _Subscription:
    def __init__(self, own):
        self.own, self.line, self.busy = own, collections.deque(), False


def _named(to, what):
    if not isinstance(to, str) or not to:
        raise _usage(f"nobody is named to be {what}", "name a selector: all, web, role:worker …")


class Worker:
    """This process's end of operations. Its methods wait, from any thread; those of aio,
    which is a Worker too, are awaited. open() makes it."""

    def __init__(self, fd=None, options=None, why="it was not started by muster"):
        self._box = {"core": None, "fd": fd, "options": dict(options or {}, worker=self), "why": why}
        self._stop = _Stop(self)
        self._async = False
        self.aio = Worker.__new__(Worker)
        self.aio._box, self.aio._stop, self.aio._async, self.aio.aio = self._box, self._stop, True, self.aio
        if fd is not None:
            self._core()

    def _core(self):
        box = self._box
        core = box["core"]
        if core is not None and core.pid == os.getpid():
            return core
        if core is not None:  # this process was forked
            box["fd"], box["why"] = None, f"it was forked by process {core.pid}, which has the channel"
            box["options"] = dict(box["options"], handlers=None)
        box["core"] = core = _Core(box["fd"], box["options"], box["why"])
        return core

    def _call(self, coro):
        """Waits for a coroutine of the core's, or gives what can be awaited for it."""
        core = self._box["core"]
        if self._async:
            return asyncio.wrap_future(core.submit(coro))
        if threading.current_thread() is core.thread:
            coro.close()
            raise _usage("a coroutine would wait for itself", "use worker.aio and await in coroutines")
        future = core.submit(coro)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    # -- who it is

    @property
    def alone(self):
        """Why it runs without muster; "" if it does not."""
        core = self._core()
        return core.why if core.alone else ""

    @property
    def name(self):
        """web#0, after the welcome; "" before."""
        return (self._core().welcome or {}).get("name", "")

    @property
    def app(self):
        return self._core().app

    @property
    def welcome(self):
        return self._core().welcome

    @property
    def settings(self):
        return self._core().settings

    @property
    def counts(self):
        return dict(self._core().counts)

    def hello(self, within=WITHIN):
        """Waits for muster's welcome: who this process is. Nothing else has to wait for it."""
        core = self._core()

        async def wait():
            if core.alone:
                raise core.alone_error("hello")
            try:
                error = await asyncio.wait_for(asyncio.shield(core.hello), within)
            except asyncio.TimeoutError:
                raise MusterError("E-DEADLINE", "muster has not answered in time") from None
            if error:
                raise error
            return core.welcome

        return self._call(wait())

    def wait(self, timeout=None):
        """Waits until the channel to muster has ended: for programs that only answer.
        True when it has."""
        core = self._core()
        if not self._async:
            return core.ended.wait(timeout)

        async def wait():
            until = None if timeout is None else time.monotonic() + timeout
            while not core.ended.is_set() and (until is None or time.monotonic() < until):
                await asyncio.sleep(0.05)
            return core.ended.is_set()

        return self._call(wait())

    # -- asking

    def request(self, to, op, body=None, *, within=WITHIN):
        """Asks one process that to means ("": muster), and returns its reply."""
        op, body = _envelope(op, body)
        return self._call(self._core().request(_hops.get(), to, op, body, within))

    def tell(self, to, op, body=None):
        """Tells all that to means; how many got it: {"receivers": 3}."""
        op, body = _envelope(op, body)
        return self._call(self._core().tell(_hops.get(), to, op, body))

    def send(self, to, op, body=None):
        """Tells one process that to means ("": muster and its listeners), without an answer."""
        op, body = _envelope(op, body)
        return self._call(self._core().send(_hops.get(), to, op, body))

    def gather(self, to, op, body=None, *, within=WITHIN):
        """Asks all that to means: an iterator of Answer (of aio: for `async for`)."""
        op, body = _envelope(op, body)
        core = self._core()
        begin = core.gather_begin(_hops.get(), to, op, body, within)
        return self._gather_aio(core, begin) if self._async else self._gather(core, begin)

    def _gather(self, core, begin):
        line, task = self._call(begin)
        try:
            while True:
                last, got = self._call(line.get())
                yield from _answers(last, got)
                if last:
                    return
        finally:
            core.soon(task.cancel)

    async def _gather_aio(self, core, begin):
        line, task = await self._call(begin)
        try:
            while True:
                last, got = await self._call(line.get())
                for answer in _answers(last, got):
                    yield answer
                if last:
                    return
        finally:
            core.soon(task.cancel)

    def peers(self, to=""):
        """Who the selector means, ready or not."""
        core, hops = self._core(), _hops.get()

        async def ask():
            return [] if core.alone else await core.ask(hops, "", "peers", {"to": to})

        return self._call(ask())

    # -- answering

    def handle(self, op, f=None):
        """Answers an op that others ask of this process: f(body, request); of several the
        last one counts. Also a decorator. The returned function removes it; as a
        decorator it returns f."""
        _check_name("the op", op)
        if f is None:
            def decorate(g):
                self.handle(op, g)
                return g
            return decorate
        own, core = _Own(f), self._core()

        def add():
            core.handlers.setdefault(op, []).append(own)

        def drop():
            left = [o for o in core.handlers.get(op, ()) if o is not own]
            core.handlers[op] = left
            if not left:
                del core.handlers[op]

        core.soon(add)
        return lambda: core.soon(drop)

    def listen(self, ops, f):
        """Hears what others send to muster ("*": all of it). What muster does not know is
        asked: the first reply that is not None answers it. Returns what removes it."""
        ops = [ops] if isinstance(ops, str) else list(ops)
        for op in ops:
            _check_name("the op", op)
        own, core, hops = _Own(f), self._core(), _hops.get()

        async def add():
            await core.listen(hops, ops, own)
            return lambda: core.soon(core.unlisten, ops, own)

        return self._call(add())

    def publish(self, channel, message, *, op="", to_self=False):
        """Sends a message to all who have subscribed to a channel: {"receivers": 3}."""
        return self._call(self._core().publish(_hops.get(), channel, message, op, to_self))

    def subscribe(self, channel, f, *, queue=""):
        """Lets f(message, request) have the messages of a channel, one after the other in
        the order they came. Of the subscriptions of the project with one queue each
        message goes to one. Returns what ends it."""
        own, core, hops = _Own(f), self._core(), _hops.get()

        async def add():
            where = await core.subscribe(hops, channel, queue, own)
            return lambda: core.soon(core.unsubscribe, *where)

        return self._call(add())

    def on(self, event, f):
        """Hears an event: gap(missed), agent(info), config(settings), message(value), end()."""
        if event not in ("gap", "agent", "config", "message", "end"):
            raise _usage(f"there is no event {event!r}", "one of gap, agent, config, message, end")
        own, core = _Own(f), self._core()
        core.soon(core.events[event].append, own)
        return lambda: core.soon(lambda: own in core.events[event] and core.events[event].remove(own))

    # -- about itself

    def ready(self):
        """Says that this worker is ready, where its app waits for that."""
        self._plain({"cmd": "MUSTER_READY"})

    def status(self, text):
        """One line that says what this worker does."""
        self._plain({"cmd": "MUSTER_STATUS", "text": str(text)})

    def lifecycle(self, text):
        """Writes a line about this process among muster's own."""
        core = self._core()
        core.soon(core.note, "lifecycle", {"text": str(text)})

    def _plain(self, frame):
        core = self._core()
        core.soon(core.plain, frame)

    def kill(self, reason="", *, graceful=True, exit_code=0, agent=False):
        """Ends this process's app; with agent the agent and all it runs."""
        return self.request("", "kill", {"reason": reason, "graceful": graceful, "exit_code": exit_code, "agent": agent})

    def restart(self, selector="", reason=""):
        """Restarts this process's app, or others."""
        return self.request("", "restart", {"selector": selector, "reason": reason})

    def reload(self, selector="", reason=""):
        """Reloads this process's app, or others."""
        return self.request("", "reload", {"selector": selector, "reason": reason})

    def apps(self):
        """What `muster status --json` shows."""
        return self.request("", "status")

    def set_port(self, name, port, *, now=False, app=""):
        return self.request("", "set-port", {"app": app, "name": name, "port": port, "now": now})

    def set_probe(self, interval, *, app=""):
        return self.request("", "set-probe", {"app": app, "interval_ms": round(interval * 1000)})

    def config_reload(self):
        return self.request("", "config:reload")

    def on_stop(self, f):
        """Registers what is done before the process ends: f(cause), an exception or None.
        Also a decorator."""
        self._stop.add(f)
        return f

    def stop(self, cause=None):
        """Runs the hooks of on_stop now, for programs that handle signals themselves."""
        self._stop.run(cause)

    def add_command(self, name, f, *, pattern="", help=""):
        """Offers a command to the console: f(args), whose result is shown. Returns what
        removes it."""
        _check_name("the command", name)
        own, core, hops = _Own(f), self._core(), _hops.get()

        async def add():
            await core.add_command(hops, {"name": name, "pattern": pattern, "help": help}, own)
            return lambda: core.soon(core.remove_command, name, own)

        return self._call(add())

    def commands(self):
        """What all processes offer to the console."""
        core, hops = self._core(), _hops.get()

        async def ask():
            return [] if core.alone else (await core.ask(hops, "", "commands") or {}).get("commands") or []

        return self._call(ask())

    # -- shared

    def _primitive(self, op, body, within=PRIMITIVE, own=False):
        return self._call(self._core().primitive(_hops.get(), op, body, within, own))

    def limiter(self, name, rate, burst=None, interval=1.0, *, fail="closed", patience=PRIMITIVE):
        """A token bucket for each key that all processes share."""
        return Limiter(self, name, rate, burst, interval, fail, patience)

    def lock(self, name, lease=LEASE):
        """A lock that all processes share."""
        return Lock(self, name, lease)

    def counter(self, name):
        """A number that all processes share."""
        return Counter(self, name)

    def cache(self, name, max=1024, ttl=0.0):
        """Values kept in this process, removed in all by delete and drop."""
        return Cache(self, name, max, ttl)


def _answers(last, got):
    if not last:
        yield Answer(got.get("from"), got.get("pid"), got.get("body"), got.get("error") and _said(got["error"], got.get("from") or ""))
    elif isinstance(got, MusterError):
        raise got
    else:
        for name, code in sorted(((got or {}).get("missing") or {}).items()):
            yield Answer(name, error=MusterError(code, f"{name} has not answered ({code})", from_=name), missing=True)


class Taken:
    """Answer of a Limiter. wait: exact seconds until the same would be allowed. error: why
    muster could not decide, of a limiter that fails open."""

    def __init__(self, allowed, wait=0.0, left=0.0, error=None):
        self.allowed, self.wait, self.left, self.error = allowed, wait, left, error

    def __bool__(self):
        return self.allowed


class Limiter:
    def __init__(self, worker, name, rate, burst, interval, fail, patience):
        _check_name("the limiter", name)
        if fail not in ("open", "closed"):
            raise _usage(f"fail is {fail!r}", 'write "open" or "closed"')
        self._worker, self._fail, self._patience = worker, fail, patience
        self._body = {"name": name, "rate": rate, "interval_ms": round(interval * 1000)}
        if burst is not None:
            self._body["burst"] = burst

    async def _take(self, core, hops, key, tokens):
        try:
            got = await core.primitive(hops, "limiter:take", dict(self._body, key=key, tokens=tokens), self._patience, own=False)
        except MusterError as e:
            if self._fail != "open" or e.code == "E-USAGE":
                raise
            return Taken(True, error=e)
        return Taken(got.get("allowed", False), got.get("wait_ns", 0) / 1e9, got.get("left", 0.0))

    def take(self, key="", tokens=1):
        """Takes tokens from a key's bucket. A refusal moves nothing."""
        return self._worker._call(self._take(self._worker._core(), _hops.get(), key, tokens))

    def allow(self, key=""):
        """take of one token as a yes or no; an error is a no."""
        core, hops = self._worker._core(), _hops.get()

        async def ask():
            try:
                return (await self._take(core, hops, key, 1)).allowed
            except MusterError:
                return False

        return self._worker._call(ask())

    def wait(self, key="", tokens=1, within=math.inf):
        """Waits until tokens could be taken; E-DEADLINE at once if that is not before within."""
        core, hops = self._worker._core(), _hops.get()

        async def ask():
            until = time.monotonic() + within
            while True:
                got = await self._take(core, hops, key, tokens)
                if got:
                    return got
                if time.monotonic() + got.wait > until:
                    raise MusterError("E-DEADLINE", f"limiter {self._body['name']} allows it only in {got.wait:.3f} s")
                await asyncio.sleep(got.wait)

        return self._worker._call(ask())


class Counter:
    def __init__(self, worker, name):
        _check_name("the counter", name)
        self._worker, self._name = worker, name

    def _ask(self, op, body):
        core, hops = self._worker._core(), _hops.get()

        async def ask():
            return (await core.primitive(hops, op, body, own=False)).get("value", 0)

        return self._worker._call(ask())

    def add(self, n=1):
        """Adds n and returns the sum."""
        return self._ask("counter:add", {"name": self._name, "add": n})

    def get(self):
        return self._ask("counter:get", {"name": self._name})


class Lock:
    def __init__(self, worker, name, lease=LEASE):
        _check_name("the lock", name)
        if not 0.1 <= lease <= WITHIN_MAX:
            raise _usage(f"a lease of {lease} s", "write 0.1 to 86400")
        self._worker, self.name, self.lease = worker, name, lease

    async def _ask(self, core, hops, token, wait):
        body = {"name": self.name, "token": token, "lease_ms": round(self.lease * 1000)}
        if wait:
            body["wait_ms"] = math.ceil(wait * 1000)
        try:
            return await core.primitive(hops, "lock:acquire", body, wait + PRIMITIVE, own=False)
        except BaseException:  # what may have been granted when nobody waits any more is given back
            self._give_up(core, token)
            raise

    def _give_up(self, core, token):
        if core.alone:
            core.local.give_up(self.name, token)
        else:
            core.note("lock:release", {"name": self.name, "token": token})

    async def _hold(self, core, hops, token, got, begun):
        """The lock in hand; None: its lease has ended in the meantime. It was granted at some
        time of a long wait, or this process was stopped: only a renewal says how long it
        holds, and nobody has the lock in hand before."""
        if time.monotonic() - begun > self.lease / 10:
            begun = time.monotonic()
            body = {"name": self.name, "token": token, "lease_ms": round(self.lease * 1000)}
            try:
                await core.primitive(hops, "lock:renew", body, self.lease, own=False)
            except BaseException as e:
                self._give_up(core, token)
                if getattr(e, "code", "") != "E-NOT-OWNER":
                    raise
                return None
        return Held(self._worker, core, self, token, got, begun)

    async def _acquire(self, core, hops, wait):
        token, until = secrets.token_hex(16), time.monotonic() + wait
        while True:
            begun = time.monotonic()
            try:
                got = await self._ask(core, hops, token, max(0.001, min(until - begun, 3600.0)))
            except MusterError as e:
                if e.code != "E-DEADLINE":
                    raise
                got = {}
            held = got.get("held") and await self._hold(core, hops, token, got, begun)
            if held:
                return held
            if time.monotonic() >= until:
                owner = f"; {got['owner']} has it" if got.get("owner") else ""
                raise MusterError("E-DEADLINE", f"the lock {self.name} was not free in time{owner}")

    def acquire(self, wait=math.inf):
        """Waits in line for the lock; E-DEADLINE when it was not free within wait."""
        return self._worker._call(self._acquire(self._worker._core(), _hops.get(), wait))

    def try_acquire(self):
        """Takes the lock if it is free, else None."""
        core, hops = self._worker._core(), _hops.get()

        async def ask():
            token, begun = secrets.token_hex(16), time.monotonic()
            got = await self._ask(core, hops, token, 0)
            return await self._hold(core, hops, token, got, begun) if got.get("held") else None

        return self._worker._call(ask())

    def hold(self, wait=math.inf):
        """For `with` and `async with`: acquired at its begin, released at its end."""
        return _Hold(self, wait)


class _Hold:
    def __init__(self, lock, wait):
        self._lock, self._wait = lock, wait

    def __enter__(self):
        self._held = self._lock.acquire(self._wait)
        return self._held

    def __exit__(self, *exc):
        self._held.release()

    async def __aenter__(self):
        self._held = await self._lock.acquire(self._wait)
        return self._held

    async def __aexit__(self, *exc):
        await self._held.release()


class Held:
    """A lock in hand. Its lease is renewed every third of its length; how long it holds is
    measured from before each request, so that it is never trusted too long. lost is set
    when it is not held any more, error says why; fence grows with every new owner."""

    def __init__(self, worker, core, lock, token, got, begun):
        self._worker, self._lease = worker, lock.lease
        self.name, self.token, self.fence = lock.name, token, got.get("fence", 0)
        self.lost, self.error = threading.Event(), None
        self._until = begun + self._lease
        self._released = False
        self._task = asyncio.ensure_future(self._keep(core))

    async def _keep(self, core):
        while not self.lost.is_set():
            await asyncio.sleep(max(0.001, min(self._lease / 3, self._until - time.monotonic())))
            begun = time.monotonic()
            if begun >= self._until:
                return self._lose(MusterError("E-NOT-OWNER", f"the lease of lock {self.name} has ended: it could not be renewed in time"))
            body = {"name": self.name, "token": self.token, "lease_ms": round(self._lease * 1000)}
            try:
                left = self._until - begun
                got = await asyncio.wait_for(core.primitive(0, "lock:renew", body, left), left)
                if not got.get("held"):
                    return self._lose(MusterError("E-NOT-OWNER", f"the lock {self.name} was given to {got.get('owner') or 'somebody else'}"))
                self._until = begun + self._lease
            except MusterError as e:
                if e.code in ("E-NOT-OWNER", "E-AGENT-UNREACHABLE"):
                    return self._lose(e)
            except asyncio.TimeoutError:
                pass

    def _lose(self, error):
        if not self.lost.is_set():
            self.error = error
            self.lost.set()

    def release(self):
        """Gives the lock back: True if it was still held. Calling it again is harmless."""
        core = self._worker._core()

        async def give():
            if self._released or self.lost.is_set():
                return False
            self._released = True
            self._task.cancel()
            self._lose(MusterError("E-NOT-OWNER", f"the lock {self.name} was given back"))
            try:
                await core.primitive(0, "lock:release", {"name": self.name, "token": self.token})
                return True
            except MusterError:  # its lease ends by itself
                return False

        return self._worker._call(give())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.release()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        await self.release()


class Cache:
    """Values of this process; the least recently used leave for want of room. A value is
    only kept while muster is known to tell of its removal, and not when that comes while
    it is being filled. Its methods are safe for threads."""

    def __init__(self, worker, name, max, ttl):
        _check_name("the cache", name)
        if not isinstance(max, int) or max < 1:
            raise _usage(f"a cache for {max} values", "write how many values it may hold")
        self._worker, self.name, self._max, self._ttl = worker, name, max, _check_ttl(ttl)
        self._values, self._fills, self._lock = collections.OrderedDict(), {}, threading.Lock()
        self._live, self._turn, self._pid = False, 0, 0
        self._counts = dict.fromkeys(("hits", "misses", "fills", "evicted", "expired", "removed"), 0)
        self._join()

    def _join(self):
        core = self._worker._core()
        self._pid = core.pid
        self._live = core.alone
        if not core.alone:
            core.soon(self._enter, core)
        return core

    def _enter(self, core):
        core.caches.setdefault(self.name, []).append(self)
        self._use(core)

    def _here(self):
        """In a forked process it begins anew."""
        if self._pid != os.getpid():
            self._lock, self._fills = threading.Lock(), {}
            self._values.clear()
            self._join()

    def _use(self, core):
        """Asks to be told what is removed; until that is sure nothing is kept."""
        self._turn += 1
        self._live = False
        asyncio.ensure_future(self._ask(core, self._turn))

    async def _ask(self, core, turn):
        pause = 0.1
        while turn == self._turn and core.over is None:
            try:
                return await core.primitive(0, "cache:use", {"cache": self.name}, at=lambda _: self._used(turn))
            except MusterError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, 5.0)

    def _used(self, turn):
        if turn == self._turn:
            self._live = True

    def get(self, key, default=None):
        self._here()
        with self._lock:
            return self._get(key, default)

    def _get(self, key, default):
        kept = self._values.get(key)
        if kept is not None and kept[1] > time.monotonic():
            self._values.move_to_end(key)
            self._counts["hits"] += 1
            return kept[0]
        if kept is not None:
            del self._values[key]
            self._counts["expired"] += 1
        self._counts["misses"] += 1
        return default

    def set(self, key, value, ttl=0.0):
        """Keeps a value in this process alone; others are told by delete."""
        _check_name("the key", key)
        _check_ttl(ttl)
        self._here()
        with self._lock:
            self._stale(key)
            self._keep(key, value, ttl)

    def _keep(self, key, value, ttl):
        if not self._live:
            return
        ttl = ttl or self._ttl
        self._values[key] = value, time.monotonic() + ttl if ttl else math.inf
        self._values.move_to_end(key)
        if len(self._values) > self._max:
            self._values.popitem(last=False)
            self._counts["evicted"] += 1

    def _begin(self, key):
        """A value (True, value), or a fill to wait for (False, fill), or to make (None, fill)."""
        with self._lock:
            value = self._get(key, self)
            if value is not self:
                return True, value
            fill = self._fills.get(key)
            if fill is not None:
                return False, fill
            fill = self._fills[key] = _Fill(not self._live)
            self._counts["fills"] += 1
            return None, fill

    def _end(self, key, fill, ttl, value=None, error=None):
        with self._lock:
            if self._fills.get(key) is fill:
                del self._fills[key]
            if error is None and not fill.stale:
                self._keep(key, value, ttl)
        fill.end(value, error)

    def fill(self, key, f, *, ttl=0.0):
        """get, or else what f(key) makes; who asks meanwhile waits for the same. Of aio f
        may be a coroutine function."""
        _check_name("the key", key)
        _check_ttl(ttl)
        own = _Own(f)
        self._here()
        if self._worker._async:
            return self._fill_aio(key, own, ttl)
        found, got = self._begin(key)
        if found:
            return got
        if found is False:
            return got.wait()
        try:
            value = own.f(*own.args((key,)))
        except BaseException as e:
            self._end(key, got, ttl, error=e)
            raise
        self._end(key, got, ttl, value)
        return value

    async def _fill_aio(self, key, own, ttl):
        found, got = self._begin(key)
        if found:
            return got
        if found is False:
            return await got.wait_aio()
        try:
            value = own.f(*own.args((key,)))
            if inspect.isawaitable(value):
                value = await value
        except BaseException as e:
            self._end(key, got, ttl, error=e)
            raise
        self._end(key, got, ttl, value)
        return value

    def delete(self, key):
        """Removes a key in every process."""
        _check_name("the key", key)
        self._here()
        self._outdate(key)
        return self._tell("cache:del", {"cache": self.name, "key": key})

    def drop(self):
        """Removes all keys in every process."""
        self._here()
        self._forget()
        return self._tell("cache:drop", {"cache": self.name})

    def _tell(self, op, body):
        core, hops = self._worker._core(), _hops.get()

        async def tell():
            if not core.alone:
                await core.primitive(hops, op, body)

        return self._worker._call(tell())

    def close(self):
        """Gives the cache up."""
        core = self._worker._core()

        def leave():
            self._turn += 1
            if self in core.caches.get(self.name, ()):
                core.caches[self.name].remove(self)

        core.soon(leave)
        self._lose()

    def _stale(self, key):
        fill = self._fills.pop(key, None)  # who asks from now on must not get what it makes
        if fill is not None:
            fill.stale = True

    def _outdate(self, key):
        with self._lock:
            self._stale(key)
            self._counts["removed"] += self._values.pop(key, None) is not None

    def _forget(self):
        with self._lock:
            for key in list(self._fills):
                self._stale(key)
            self._counts["removed"] += len(self._values)
            self._values.clear()

    def _lose(self):
        self._live = False
        self._forget()

    @property
    def stats(self):
        with self._lock:
            return dict(self._counts, len=len(self._values))


class _Fill:
    def __init__(self, stale):
        self.stale, self._done, self._value, self._error = stale, threading.Event(), None, None

    def end(self, value, error):
        self._value, self._error = value, error
        self._done.set()

    def wait(self):
        self._done.wait()
        return self._result()

    async def wait_aio(self):
        await asyncio.get_running_loop().run_in_executor(None, self._done.wait)
        return self._result()

    def _result(self):
        if self._error is None:
            return self._value
        if isinstance(self._error, Exception):
            raise self._error
        raise MusterError("E-HANDLER", f"the fill was ended by {type(self._error).__name__}")


def _check_ttl(ttl):
    if not ttl >= 0:
        raise _usage(f"a value is to be kept for {ttl} s", "write a time above 0, or 0 for the cache's own")
    return ttl


class _Local:
    """The primitives of a process that runs alone; it answers as muster would."""

    def __init__(self):
        self._buckets, self._locks, self._counters, self._fence = {}, {}, collections.Counter(), 0

    async def ask(self, op, body):
        if op == "limiter:take":
            return self._take(**body)
        if op == "lock:acquire":
            return await self._acquire(**body)
        if op in ("lock:renew", "lock:release"):
            lock = self._locks.get(body["name"])
            if lock is None or lock["token"] != body["token"]:
                raise MusterError("E-NOT-OWNER", f"the lock {body['name']} belongs to somebody else")
            if op == "lock:renew":
                return self._grant(lock, lock["token"], body.get("lease_ms"), lock["fence"])
            self._next(lock)
        if op in ("counter:add", "counter:get"):
            self._counters[body["name"]] += body.get("add", 0)
            return {"value": self._counters[body["name"]]}
        return {}

    def _take(self, name, key="", rate=0, burst=None, interval_ms=1000, tokens=1):
        if not (rate > 0 and math.isfinite(rate)):
            raise _usage(f"the rate of the limiter is {rate}", "write a rate above 0, such as 10")
        if not interval_ms > 0:
            raise _usage(f"the interval of the limiter is {interval_ms} ms", "write an interval above 0, such as 1.0")
        burst = burst or math.ceil(rate)
        if not (burst >= 1 and math.isfinite(burst)):
            raise _usage(f"the burst of the limiter is {burst}", "write a burst of at least 1")
        if not 0 < tokens <= burst:
            raise _usage(f"{tokens} tokens are wanted of a burst of {burst}", "take less at a time, or write a larger burst")
        now, speed = time.monotonic(), rate * 1000 / interval_ms
        at, missing, before = self._buckets.get((name, key), (now, 0.0, speed))
        missing = min(burst, max(0.0, missing - (now - at) * before))
        allowed = missing + tokens <= burst + 1e-9
        self._buckets[name, key] = now, missing + tokens if allowed else missing, speed
        if len(self._buckets) % 1024 == 0:  # one that is full is no different from a new one
            self._buckets = {k: b for k, b in self._buckets.items() if b[1] > (now - b[0]) * b[2]}
        if allowed:
            return {"allowed": True, "left": max(0.0, burst - missing - tokens)}
        return {"allowed": False, "wait_ns": math.ceil((missing + tokens - burst) / speed * 1e9), "left": burst - missing}

    async def _acquire(self, name, token, lease_ms=10000, wait_ms=0):
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = {"name": name, "timer": None, "line": []}
            return self._grant(lock, token, lease_ms)
        if lock["token"] == token:
            return self._grant(lock, token, lease_ms, lock["fence"])
        if not wait_ms:
            return {"held": False, "owner": "this process"}
        waiting = asyncio.get_running_loop().create_future()
        place = token, lease_ms, waiting
        lock["line"].append(place)
        try:
            return await asyncio.wait_for(waiting, wait_ms / 1000)
        except asyncio.TimeoutError:
            return {"held": False, "owner": "this process"}
        finally:
            if place in lock["line"]:
                lock["line"].remove(place)

    def _grant(self, lock, token, lease_ms, fence=None):
        if fence is None:
            self._fence += 1
            fence = self._fence
        if lock["timer"]:
            lock["timer"].cancel()
        timer = asyncio.get_running_loop().call_later(lease_ms / 1000, self._next, lock)
        lock.update(token=token, fence=fence, timer=timer)
        return {"held": True, "fence": fence, "lease_ms": lease_ms}

    def _next(self, lock):
        """Gives the lock to the first in line."""
        lock["timer"].cancel()
        while lock["line"]:
            token, lease_ms, waiting = lock["line"].pop(0)
            if not waiting.done():
                return waiting.set_result(self._grant(lock, token, lease_ms))
        self._locks.pop(lock["name"], None)

    def give_up(self, name, token):
        lock = self._locks.get(name)
        if lock is not None and lock["token"] == token:
            self._next(lock)


class _Stop:
    """Runs the hooks of on_stop, once: by SIGTERM (unless the program handles that
    itself), at the natural end, or by an exception that nobody caught."""

    def __init__(self, worker):
        self._worker, self._hooks, self._begun, self._pid = worker, [], False, os.getpid()

    def add(self, f):
        if not callable(f):
            raise _usage(f"a {type(f).__name__} is no function", "give a function")
        if not self._hooks:
            atexit.register(self.run, None)
            if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._told)
        # Its thread waits already: at the end of the interpreter none can be started.
        hook = {"f": f, "go": threading.Event(), "cause": None, "done": threading.Event()}
        self._hooks.append(hook)
        threading.Thread(target=self._work, args=(hook,), name="muster-stop", daemon=True).start()

    def _told(self, number, frame):
        self.run(None)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _work(self, hook):
        hook["go"].wait()
        try:
            result = hook["f"](hook["cause"])
            if inspect.isawaitable(result):
                asyncio.run(_await(result))
        except BaseException:
            self._worker._core().log("a hook of on_stop has failed:\n" + traceback.format_exc().rstrip())
        hook["done"].set()

    def run(self, cause):
        if self._begun or os.getpid() != self._pid:
            return
        self._begun = True
        for hook in self._hooks:
            hook["cause"] = cause
            hook["go"].set()
        limit = self._worker._box["options"].get("stop_timeout") or STOP
        until = time.monotonic() + limit
        for hook in self._hooks:
            if not hook["done"].wait(max(0.0, until - time.monotonic())):
                self._worker._core().log(f"a hook of on_stop has not ended within {limit} s")


async def _await(x):
    return await x


def _watch_for_crash(worker):
    """Tells muster of an exception that nobody caught, with its real text. The notice has
    left before the interpreter goes on."""
    before, before_thread = sys.excepthook, threading.excepthook
    pid = os.getpid()

    def tell(kind, value, tb):
        if issubclass(kind, (KeyboardInterrupt, SystemExit)) or os.getpid() != pid:
            return
        stack = "".join(traceback.format_exception(kind, value, tb))
        core = worker._core()

        async def say():
            core.note("crash", {"error": (str(value) or kind.__name__)[:STACK_MAX], "stack": stack[-STACK_MAX:], "error_type": kind.__name__})

        try:
            core.submit(say()).result(2)
        except Exception:  # nothing may go wrong here
            pass

    def hook(kind, value, tb):
        tell(kind, value, tb)
        before(kind, value, tb)
        if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
            worker._stop.run(value)

    def hook_thread(args):
        if args.exc_type is not None and args.exc_value is not None:
            tell(args.exc_type, args.exc_value, args.exc_traceback)
        before_thread(args)

    sys.excepthook, threading.excepthook = hook, hook_thread


# -- the console


class _Output:
    """Stands in for sys.stdout while a console is open: what the console's own threads
    print goes to their connection."""

    def __init__(self, real):
        self._real, self._mine = real, threading.local()

    def mine(self, write):
        self._mine.write = write

    def write(self, text):
        write = getattr(self._mine, "write", None)
        return write(text) if write else self._real.write(text)

    def __getattr__(self, name):
        return getattr(self._real, name)


class _Console:
    """A Python console in this process, on a UNIX socket of its owner's, or a port of
    127.0.0.1 where the first line has to be the token."""

    def __init__(self, welcome, worker):
        self._name, self._worker = welcome.get("name") or f"pid {os.getpid()}", worker
        self._open, self._lock, self.closed, self.place = set(), threading.Lock(), False, None
        self._path, self._token, self._output = "", "", None

    def open(self, settings):
        port, where = settings.get("console_port"), settings.get("console_dir")
        if port:
            self._server, self._token = socket.create_server(("127.0.0.1", port)), secrets.token_hex(16)
            self.place = {"address": f"127.0.0.1:{port}", "token": self._token}
        elif where:
            self._path = os.path.join(where, f"console-{os.getpid()}.sock")
            if os.path.exists(self._path):
                os.unlink(self._path)
            self._server = socket.socket(socket.AF_UNIX)
            mask = os.umask(0o177)
            try:
                self._server.bind(self._path)
            finally:
                os.umask(mask)
            self._server.listen()
            self.place = {"path": self._path}
        else:
            raise MusterError("E-CONSOLE", "there is no directory that this worker could open a console in",
                              "name a port: console: {port: 9100}")
        self._output = sys.stdout if isinstance(sys.stdout, _Output) else _Output(sys.stdout)
        sys.stdout = self._output
        atexit.register(self.close)
        threading.Thread(target=self._accept, name="muster-console", daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(conn)
            threading.Thread(target=self._talk, args=(conn,), name="muster-console", daemon=True).start()

    def _admitted(self, conn, lines):
        if self._path:
            size = struct.calcsize("3i")
            _, uid, _ = struct.unpack("3i", conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
            return uid in (0, os.geteuid())
        conn.settimeout(10)
        given = lines.readline(256).strip()
        conn.settimeout(None)
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return True
        conn.sendall(b"the token is not the right one\n")
        return False

    def _talk(self, conn):
        lines = conn.makefile("r", encoding="utf-8", errors="replace", newline="\n")
        try:
            if self._admitted(conn, lines):
                self._repl(conn, lines)
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(conn)
            lines.close()
            conn.close()

    def _repl(self, conn, lines):
        def write(text):
            conn.sendall(text.encode("utf-8", "replace"))
            return len(text)

        self._output.mine(write)
        names = {"__name__": "__console__", "__doc__": None, "muster": self._worker}
        compiler, text = codeop.CommandCompiler(), ""
        while True:
            write("... " if text else f"{self._name}> ")
            line = lines.readline()
            if not line:
                return
            line = line.rstrip("\r\n")
            if not text and line.strip() in ("quit", "exit", "\x04"):
                return
            text = f"{text}\n{line}" if text else line
            try:
                source = compiler(text, "<console>", "single")
                if source is None:
                    continue
                exec(source, names)
            except SystemExit:
                return
            except BaseException as e:
                tb = e.__traceback__.tb_next if e.__traceback__ else None
                write("".join(traceback.format_exception(type(e), e, tb)))
            text = ""

    def close(self):
        if self.closed:
            return
        self.closed = True
        _shut(self._server)
        if self._path and os.path.exists(self._path):
            os.unlink(self._path)
        with self._lock:
            for conn in self._open:
                _shut(conn)
        if sys.stdout is self._output:
            sys.stdout = self._output._real
        atexit.unregister(self.close)

    def forked(self):
        """In a child: only its copies are closed."""
        self.closed = True
        atexit.unregister(self.close)
        for sock in [self._server, *self._open]:
            try:
                os.close(sock.detach())
            except OSError:
                pass


def _shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)  # close alone does not wake who waits on it
    except OSError:
        pass
    sock.close()


# -- opening

_opened = None
_opening = threading.Lock()


def _place():
    """The channel's descriptor, or why there is none."""
    if os.environ.get("MUSTER_SDK") == "off":
        return None, "MUSTER_SDK is off"
    if "MUSTER_APP" not in os.environ:
        return None, "it was not started by muster"
    number = os.environ.get("MUSTER_CHANNEL_FD", "")
    try:
        fd = int(number)
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError
        with socket.socket(fileno=os.dup(fd)) as sock:
            if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
                raise OSError
    except (ValueError, OSError):
        return None, "it has no channel to muster (MUSTER_CHANNEL_FD)"
    return fd, ""


def _claim(fd):
    """Of several processes that were forked from one (gunicorn) the first speaks. The lock
    is the process's, and ends with it."""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return ""
    except OSError:
        return "another process of this worker has the channel already"


def is_worker():
    """Whether muster runs this process, and it has the channel, or could have it."""
    if _opened is not None:
        return not _opened.alone
    return _place()[0] is not None


def open(**options):
    """Takes part in operations; a second call returns the same Worker. In a program that
    forks its own workers, call it in each of those: the first of them has the channel,
    the others run alone.

    handlers: {op: f}, there from the first moment on · off=True: run alone · log: gets
    texts · alive: asked before each heartbeat, False withholds it · stop_timeout: seconds
    for the hooks of on_stop · sdk: who speaks, for people."""
    global _opened
    with _opening:
        if _opened is not None:
            return _opened
        fd, why = (None, "it was switched off") if options.get("off") else _place()
        if fd is not None:
            why = _claim(fd)
            fd = None if why else fd
        if fd is not None:
            os.environ.pop("MUSTER_CHANNEL_FD", None)  # programs that it starts have another one, or none
        _opened = Worker(fd, options, why)
        if fd is not None:
            _watch_for_crash(_opened)
        return _opened


def _forked():
    global _opening
    _opening = threading.Lock()
    if _opened is not None and _opened._box["core"] is not None:
        _opened._box["core"].forked()


os.register_at_fork(after_in_child=_forked)
