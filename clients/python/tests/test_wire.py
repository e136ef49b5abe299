import asyncio
import os
import threading
import time
import unittest

from agent import Agent, muster, start, until


class Wire(unittest.TestCase):
    def setUp(self):
        self.agent = Agent()
        self.addCleanup(self.agent.close)
        self.threads = []
        self.addCleanup(lambda: [t.join(10) for t in self.threads])

    def start(self, welcome=None, **options):
        self.m, self.errors = start(self.agent, welcome, **options)
        return self.m

    def later(self, f, *args, **kw):
        """Runs f in a thread; .get() is its result."""
        box = {}

        def run():
            try:
                box["value"] = f(*args, **kw)
            except BaseException as e:
                box["error"] = e

        t = threading.Thread(target=run, daemon=True)
        t.start()
        self.threads.append(t)

        def get(timeout=10):
            t.join(timeout)
            self.assertFalse(t.is_alive(), "it hangs")
            if "error" in box:
                raise box["error"]
            return box.get("value")

        t.get = get
        return t

    def fails(self, code, f, *args, **kw):
        with self.assertRaises(muster.MusterError) as caught:
            f(*args, **kw)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception

    def ask(self, op, body=None, **more):
        self.agent.tell(op, body, **dict({"id": 7, "from": "web#1", "within": 5000}, **more))
        f = self.agent.next("MUSTER_REPLY")
        return f["error"] if "error" in f else f.get("body")

    def test_ids_grow_from_the_microseconds_since_1970(self):
        before = time.time_ns() // 1000
        m = self.start()
        self.assertEqual((m.name, m.app), ("web#0", "web"))
        asked = self.later(m.request, "web", "a")
        a = self.agent.next("a")
        self.agent.reply(a, [1])
        self.assertEqual(asked.get(), [1])
        self.later(m.request, "web", "b")
        b = self.agent.next("b")
        self.agent.reply(b)
        self.assertTrue(before < a["id"] and b["id"] == a["id"] + 1, (before, a, b))
        del a["id"]
        self.assertEqual(a, {"cmd": "MUSTER_OP", "op": "a", "to": "web", "within": 30000})

    def test_a_reply_with_an_error(self):
        m = self.start()
        asked = self.later(m.request, "web#1", "a")
        f = self.agent.next("a")
        self.agent.send({"cmd": "MUSTER_REPLY", "id": f["id"], "from": "web#1", "error": {"code": "E-NO-PEER", "text": "nobody", "fix": "wait"}})
        e = self.fails("E-NO-PEER", asked.get)
        self.assertEqual((str(e), e.fix, e.from_), ("nobody", "wait", "web#1"))

    def test_a_request_that_nobody_answers(self):
        m = self.start()
        asked = self.later(m.request, "web", "slow", 1, within=0.05)
        f = self.agent.next("slow")
        self.assertEqual(f["within"], 50)
        self.fails("E-DEADLINE", asked.get)
        self.assertEqual(self.agent.next("MUSTER_CANCEL")["id"], f["id"])
        self.agent.reply(f)
        until(lambda: m.counts["late"] == 1)

    def test_envelopes(self):
        m = self.start()
        for message in (("say", {"text": "hi"}), ({"op": "say", "text": "hi"},), ('{"op":"say","text":"hi"}',)):
            m.send("web", *message)
            self.assertEqual(self.agent.next("say"), {"cmd": "MUSTER_OP", "op": "say", "to": "web", "body": {"text": "hi"}})
        m.send("", {"op": "bare"})
        self.assertEqual(self.agent.next("bare"), {"cmd": "MUSTER_OP", "op": "bare"})

    def test_what_cannot_be_sent_is_refused(self):
        m = self.start()
        circle = []
        circle.append(circle)
        for code, *args in (
            ("E-USAGE", "web", ""), ("E-USAGE", "web", None), ("E-USAGE", "web", "{nonsense"), ("E-USAGE", "web", {"text": 1}),
            ("E-USAGE", "web", "x" * 201), ("E-USAGE", "web", "ü" * 101), ("E-USAGE", "web", "x", circle), ("E-USAGE", "web", "x", {1, 2}),
            ("E-USAGE", "web", "x", float("nan")), ("E-USAGE", 5, "x"), ("E-TOO-LARGE", "web", "x", "x" * (1 << 20)), ("E-TOO-LARGE", "web", "x", "ü" * (1 << 19)),
        ):
            self.fails(code, m.request, *args)
        self.fails("E-USAGE", m.request, "web", "x", 1, within=0)
        self.fails("E-USAGE", m.tell, "", "x")
        self.assertEqual(self.agent.frames, [])
        m.send("web", "x", "x" * ((1 << 20) - 2))
        self.assertEqual(len(self.agent.next("x")["body"]), (1 << 20) - 2)
        m.send("web", "x", "\ud800")
        self.assertEqual(self.agent.next("x")["body"], "\ud800")

    def test_tell_tells_all_and_counts(self):
        m = self.start()
        told = self.later(m.tell, "all", "news", 1)
        f = self.agent.answer("news", {"receivers": 2})
        self.assertEqual((f["all"], f["within"], f["to"]), (True, -1, "all"))
        self.assertEqual(told.get(), {"receivers": 2})

    def test_gather(self):
        m = self.start()
        got = self.later(lambda: list(m.gather("web", "stats", within=0.5)))
        f = self.agent.next("stats")
        self.assertEqual((f["all"], f["within"]), (True, 500))
        self.agent.reply(f, 1, more=True, **{"from": "web#1", "pid": 11})
        self.agent.send({"cmd": "MUSTER_REPLY", "id": f["id"], "more": True, "from": "web#2", "error": {"code": "E-HANDLER", "text": "bad"}})
        self.agent.reply(f, {"asked": 3, "replied": 2, "missing": {"web#3": "E-DEADLINE"}})
        self.assertEqual([(a.from_, a.pid, a.body, a.error and a.error.code, a.missing) for a in got.get()], [
            ("web#1", 11, 1, None, False), ("web#2", None, None, "E-HANDLER", False), ("web#3", None, None, "E-DEADLINE", True)])
        none = self.later(lambda: list(m.gather("nobody", "b")))
        self.agent.fail(self.agent.next("b"), "E-NO-PEER")
        self.fails("E-NO-PEER", none.get)

        def early():
            for a in m.gather("web", "c"):
                return a.from_

        first = self.later(early)
        c = self.agent.next("c")
        self.agent.reply(c, 1, more=True, **{"from": "web#9"})
        self.assertEqual(first.get(), "web#9")
        self.assertEqual(self.agent.next("MUSTER_CANCEL")["id"], c["id"])

    def test_handlers(self):
        m = self.start(handlers={"early": lambda: "from the start"})

        class Room(Exception):
            code, fix = "E-ROOM", "make one"

        def own(body):
            raise Room("no such room")

        async def later(body, request):
            await asyncio.sleep(0)
            return [body, request.from_, request.asked]

        m.handle("sum", lambda body, request: f"{request.from_}: {sum(body)}")
        m.handle("own", own)
        m.handle("later", later)
        m.handle("nothing", lambda body: None)
        m.handle("big", lambda body: "x" * (1 << 20))

        @m.handle("throws")
        def throws(body):
            raise TypeError("oops")

        self.assertEqual(self.ask("early"), "from the start")
        self.assertEqual(self.ask("sum", [1, 2]), "web#1: 3")
        self.assertEqual(self.ask("own"), {"code": "E-ROOM", "text": "Room: no such room", "fix": "make one"})
        self.assertEqual(self.ask("later", 5), [5, "web#1", True])
        self.assertEqual(self.ask("throws"), {"code": "E-HANDLER", "text": "TypeError: oops"})
        self.assertEqual(self.ask("nothing"), None)
        self.assertEqual(self.ask("big")["code"], "E-TOO-LARGE")
        self.assertEqual(self.ask("unknown")["code"], "E-UNKNOWN-OP")
        self.assertTrue(any("oops" in e for e in self.errors), self.errors)
        first, second = m.handle("x", lambda: "first"), m.handle("x", lambda: "second")
        self.assertEqual(self.ask("x"), "second")
        second()
        self.assertEqual(self.ask("x"), "first")
        first()
        self.assertEqual(self.ask("x")["code"], "E-UNKNOWN-OP")

    def test_a_handler_hears_that_nobody_waits(self):
        m = self.start()
        seen = []

        def slow(body, request):
            until(lambda: request.over)
            seen.append("thread")

        async def slow_aio(body, request):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("task")
                raise

        m.handle("slow", slow)
        m.handle("aio", slow_aio)
        m.handle("sync", lambda: None)
        self.agent.tell("slow", 1, id=1, within=60000)
        self.agent.tell("aio", 1, id=2, within=60000)
        self.ask("sync")
        for i in (1, 2):
            self.agent.send({"cmd": "MUSTER_CANCEL", "id": i})
        until(lambda: sorted(seen) == ["task", "thread"])

    def test_hops(self):
        m = self.start()
        m.handle("thread", lambda: m.send("web", "outside"))

        async def task():
            await asyncio.sleep(0)
            await m.aio.send("web", "outside")

        m.handle("task", task)
        for op in ("thread", "task"):
            self.agent.tell(op, 1, hops=3, **{"from": "web#1"})
            self.assertEqual(self.agent.next("outside")["hops"], 4)
        m.send("web", "outside")
        self.assertNotIn("hops", self.agent.next("outside"))
        self.assertEqual(self.ask("thread", hops=16)["code"], "E-TOO-DEEP")

    def test_a_coroutine_cannot_wait_for_itself(self):
        m = self.start()

        async def wrong():
            m.request("web", "x")

        m.handle("wrong", wrong)
        self.assertEqual(self.ask("wrong")["code"], "E-USAGE")

    def test_listeners(self):
        m = self.start()
        seen = []
        listening = self.later(m.listen, "*", lambda body, request: seen.append(request.op))
        self.assertEqual(self.agent.answer("listen", {})["body"], {"ops": ["*"]})
        observer = listening.get()
        listening = self.later(m.listen, ["hi", "ho"], lambda body, request: "hello" if request.op == "hi" else None)
        self.agent.answer("listen", {})
        answers = listening.get()
        self.assertEqual(self.ask("hi"), "hello")
        self.assertEqual(self.ask("ho")["code"], "E-UNKNOWN-OP")
        self.assertEqual(seen, ["hi", "ho"])
        answers()
        self.assertEqual(self.agent.next("unlisten")["body"], {"ops": ["hi", "ho"]})
        observer()
        observer()
        self.assertEqual(self.agent.next("unlisten")["body"], {"ops": ["*"]})

    def test_a_listener_that_fails_beside_a_handler_is_no_answer(self):
        m = self.start()
        go = threading.Event()
        m.handle("x", lambda: go.wait(10) and "answer")

        def bad():
            go.set()
            raise ValueError("bad listener")

        listening = self.later(m.listen, "x", bad)
        self.agent.answer("listen", {})
        listening.get()
        self.assertEqual(self.ask("x"), "answer")

    def test_too_many_requests_are_refused(self):
        m = self.start()
        go = threading.Event()
        self.addCleanup(go.set)

        async def wait():
            while not go.is_set():
                await asyncio.sleep(0.01)

        m.handle("wait", wait)
        adding = self.later(m.add_command, "count", lambda args: args["n"] + 1)
        self.assertEqual(self.agent.answer("commands:add", {})["body"]["commands"][0]["name"], "count")
        adding.get()
        for i in range(1, 258):
            self.agent.tell("wait", 1, id=i, **{"from": "web#1"})
        refused = self.agent.next("MUSTER_REPLY")
        self.assertEqual((refused["id"], refused["error"]["code"]), (257, "E-TABLE-FULL"))
        self.assertEqual(self.ask("commands:run", {"name": "count", "args": {"n": 4}}, id=300, **{"from": "muster"}), 5)
        go.set()
        until(lambda: len(self.agent.frames) == 256)

    def test_messages_come_one_after_the_other(self):
        m = self.start()
        for kind in ("thread", "task"):
            seen = []

            def thread(body, request):
                seen.append(("begin", body, request.channel, request.from_))
                threading.Event().wait(0.01)
                seen.append(("end", body))

            async def task(body, request):
                seen.append(("begin", body, request.channel, request.from_))
                await asyncio.sleep(0.01)
                seen.append(("end", body))

            subscribing = self.later(m.subscribe, ":room", thread if kind == "thread" else task)
            self.assertEqual(self.agent.answer("subscribe", {})["body"], {"channel": "web:room", "queue": ""})
            cancel = subscribing.get()
            for body in (1, 2):
                self.agent.tell("message", body, channel="web:room", **{"from": "web#1"})
            self.agent.tell("message", 3, channel="another")
            until(lambda: len(seen) == 4)
            self.assertEqual(seen, [("begin", 1, "web:room", "web#1"), ("end", 1), ("begin", 2, "web:room", "web#1"), ("end", 2)])
            cancel()
            self.assertEqual(self.agent.next("unsubscribe")["body"], {"channel": "web:room", "queue": ""})

    def test_queues_and_gaps(self):
        m = self.start()
        seen, gaps = [], []
        for name in "ab":
            subscribing = self.later(m.subscribe, "jobs", lambda body, name=name: seen.append(name + str(body)), queue="q")
            self.agent.answer("subscribe", {})
            subscribing.get()
        subscribing = self.later(m.subscribe, "jobs", lambda body: seen.append(f"all{body}"))
        self.agent.answer("subscribe", {})
        subscribing.get()
        for i in range(4):
            self.agent.tell("message", i, channel="jobs", queue="q")
        self.agent.tell("message", 4, channel="jobs", queue="unknown")
        self.agent.tell("message", 5, channel="jobs")
        until(lambda: len(seen) == 5)
        self.assertEqual(sorted(seen), ["a0", "a2", "all5", "b1", "b3"])
        m.on("gap", gaps.append)
        go = threading.Event()
        self.addCleanup(go.set)
        subscribing = self.later(m.subscribe, "slow", lambda: go.wait())
        self.agent.answer("subscribe", {})
        subscribing.get()
        for i in range(1027):
            self.agent.tell("message", i, channel="slow")
        self.agent.tell("gap", {"missed": 5})
        until(lambda: len(gaps) == 3)
        self.assertEqual((sorted(gaps), m.counts["dropped"]), ([1, 1, 5], 7))

    def test_publish(self):
        m = self.start()
        published = self.later(m.publish, ":room", {"text": 1}, op="said")
        self.assertEqual(self.agent.answer("publish", {"receivers": 3})["body"], {"channel": "web:room", "message": {"text": 1}, "op": "said"})
        self.assertEqual(published.get(), {"receivers": 3})
        failing = self.later(m.subscribe, "x", print)
        self.agent.fail(self.agent.next("subscribe"), "E-TABLE-FULL")
        self.fails("E-TABLE-FULL", failing.get)

    def test_another_agent(self):
        m = self.start()
        cache, news = m.cache("c"), []
        self.agent.answer("cache:use", {})
        until(lambda: cache._live)
        cache.set("k", 1)
        m.on("agent", news.append)
        other = self.later(m.request, "web", "x")
        self.agent.next("x")
        killing = self.later(m.kill)
        self.agent.next("kill")
        counting = self.later(m.counter("n").add, 2)
        first = self.agent.next("counter:add")
        locking = self.later(m.lock("l").try_acquire)
        second = self.agent.next("lock:acquire")
        self.agent.tell("agent:new", {"agent": 2, "epoch": 2})
        for asked in (other, killing):
            self.fails("E-AGENT-REPLACED", asked.get)
        hello = self.agent.next(lambda f: True)
        self.assertEqual((hello["op"], hello.get("again")), ("hello", None))  # before anything else
        self.agent.reply(hello, {"name": "web#0", "epoch": 2})
        until(lambda: m.welcome.get("epoch") == 2)
        again = [self.agent.next(lambda f: f.get("again")) for _ in range(2)]
        self.assertEqual(again, [dict(first, again=True), dict(second, again=True)])
        self.assertEqual(cache.get("k"), None)
        self.agent.answer("cache:use", {})
        self.agent.reply(first, {"value": 2})
        self.agent.reply(second, {"held": False, "owner": "web#1"})
        self.assertEqual((counting.get(), locking.get()), (2, None))
        until(lambda: news == [{"agent": 2, "epoch": 2}])
        reading = self.later(m.counter("n").get)
        self.agent.fail(self.agent.next("counter:get"), "E-AGENT-REPLACED")
        self.agent.answer("counter:get", {"value": 4})
        self.assertEqual(reading.get(), 4)
        adding = self.later(m.counter("n").add)
        self.agent.fail(self.agent.next("counter:add"), "E-AGENT-REPLACED")
        self.fails("E-AGENT-REPLACED", adding.get)

    def test_no_reply_goes_to_an_agent_that_has_not_asked(self):
        m = self.start()
        begun, go = threading.Event(), threading.Event()
        m.handle("slow", lambda: (begun.set(), go.wait(10)) and "late")
        m.handle("sync", lambda: "in time")
        self.agent.tell("slow", 1, id=5)
        self.assertTrue(begun.wait(10))
        self.agent.tell("agent:new", {"epoch": 2})
        self.assertEqual(self.ask("sync"), "in time")
        go.set()
        self.agent.none(lambda f: f.get("id") == 5, 0.1)

    def test_a_hello_that_the_old_agent_has_not_answered(self):
        m = muster.Worker(os.dup(self.agent.theirs.fileno()), {}, "")
        counting = self.later(m.counter("c").add, 1)
        hello, add = self.agent.next("hello"), self.agent.next("counter:add")
        self.agent.tell("agent:new", {})
        again = [self.agent.next(lambda f: True) for _ in range(2)]
        self.assertEqual(again, [dict(hello, again=True), dict(add, again=True)])
        self.agent.reply(hello, {"name": "web#4"})
        self.assertEqual(m.hello()["name"], "web#4")
        self.agent.reply(add, {"value": 1})
        self.assertEqual(counting.get(), 1)

    def test_limiter(self):
        m = self.start()
        limiter = m.limiter("mail", 5, 10, 2.0)
        taking = self.later(limiter.take, "ann", 2)
        f = self.agent.answer("limiter:take", {"allowed": False, "wait_ns": 1500000, "left": 0.5})
        self.assertEqual(f["body"], {"name": "mail", "key": "ann", "rate": 5, "burst": 10, "interval_ms": 2000, "tokens": 2})
        got = taking.get()
        self.assertEqual((got.allowed, got.wait, got.left, bool(got)), (False, 0.0015, 0.5, False))
        waiting = self.later(limiter.wait, "ann")
        self.agent.answer("limiter:take", {"allowed": False, "wait_ns": 1000000, "left": 0})
        self.agent.answer("limiter:take", {"allowed": True, "left": 0})
        self.assertTrue(waiting.get())
        hopeless = self.later(limiter.wait, "ann", within=0.01)
        self.agent.answer("limiter:take", {"allowed": False, "wait_ns": 10**9, "left": 0})
        self.fails("E-DEADLINE", hopeless.get)
        open_ = m.limiter("mail", 5, fail="open")
        for lim, code, allowed, raises in ((limiter, "E-TABLE-FULL", False, True), (open_, "E-TABLE-FULL", True, False), (open_, "E-USAGE", False, True)):
            asked = self.later(lim.take, "ann")
            self.agent.fail(self.agent.next("limiter:take"), code)
            if raises:
                self.fails(code, asked.get)
            else:
                self.assertEqual(asked.get().error.code, code)
            asked = self.later(lim.allow, "ann")
            self.agent.fail(self.agent.next("limiter:take"), code)
            self.assertEqual(asked.get(), allowed)
        self.fails("E-USAGE", m.limiter, "x", 1, fail="maybe")

    def test_lock_renewed_and_lost(self):
        m = self.start()
        acquiring = self.later(m.lock("l", 0.9).acquire)
        f = self.agent.answer("lock:acquire", {"held": True, "fence": 7})
        self.assertTrue(len(f["body"]["token"]) >= 16 and f["body"]["wait_ms"] > 0 and f["body"]["lease_ms"] == 900, f)
        held = acquiring.get()
        self.assertEqual(held.fence, 7)
        for _ in range(3):
            self.assertEqual(self.agent.answer("lock:renew", {"held": True, "fence": 7})["body"]["token"], f["body"]["token"])
        self.assertFalse(held.lost.is_set())
        self.agent.fail(self.agent.next("lock:renew"), "E-NOT-OWNER")
        self.assertTrue(held.lost.wait(10))
        self.assertEqual((held.error.code, held.release()), ("E-NOT-OWNER", False))
        silent = self.later(m.lock("l", 0.15).try_acquire)
        self.agent.answer("lock:acquire", {"held": True, "fence": 8})
        begun = time.monotonic()
        self.assertTrue(silent.get().lost.wait(10))  # nobody answers its renewals
        self.assertLess(time.monotonic() - begun, 3)
        for lease in (0, -1, float("nan"), 0.09, 86401):
            self.fails("E-USAGE", m.lock, "l", lease)

    def test_lock_waited_for(self):
        """It is in hand only when it is sure that it is held."""
        acquiring = self.later(self.start().lock("l", 2).acquire)
        f = self.agent.next("lock:acquire")
        time.sleep(0.3)  # more than a tenth of the lease
        self.agent.reply(f, {"held": True, "fence": 1})
        renewal = self.agent.next("lock:renew")
        self.assertTrue(acquiring.is_alive())
        self.agent.fail(renewal, "E-NOT-OWNER")  # its lease has ended meanwhile: it is asked for again
        self.assertEqual(self.agent.next("lock:release")["body"]["token"], f["body"]["token"])
        self.agent.answer("lock:acquire", {"held": True, "fence": 5})
        self.assertEqual(acquiring.get().fence, 5)

    def test_lock_given_back(self):
        m = self.start()
        lock = m.lock("l")

        def run():
            with lock.hold() as held:
                return held.fence * 2

        running = self.later(run)
        f = self.agent.answer("lock:acquire", {"held": True, "fence": 3})
        self.assertEqual(self.agent.answer("lock:release", {})["body"], {"name": "l", "token": f["body"]["token"]})
        self.assertEqual(running.get(), 6)

        async def give_up():
            task = asyncio.ensure_future(m.aio.lock("l").acquire())
            g = await asyncio.get_running_loop().run_in_executor(None, self.agent.next, "lock:acquire")
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            return g

        g = asyncio.run(give_up())
        self.assertEqual(self.agent.next("MUSTER_CANCEL")["id"], g["id"])
        self.assertEqual(self.agent.next("lock:release")["body"]["token"], g["body"]["token"])
        late = self.later(lock.acquire, 0.03)
        while late.is_alive():
            try:
                self.agent.reply(self.agent.next("lock:acquire", 0.1), {"held": False, "owner": "api#2"})
            except AssertionError:
                continue
            late.join(0.05)
        self.assertIn("api#2", str(self.fails("E-DEADLINE", late.get)))

    def test_cache(self):
        m = self.start()
        cache = m.cache("c", max=2)
        self.assertEqual((cache.fill("early", lambda: 1), cache.get("early")), (1, None))  # nobody tells yet what is removed
        self.assertEqual(self.agent.answer("cache:use", {})["body"], {"cache": "c"})
        until(lambda: cache._live)
        fills, go = [], threading.Event()

        def make(key):
            fills.append(key)
            go.wait(10)
            return key + "1"

        asked = [self.later(cache.fill, "a", make) for _ in range(3)]
        until(lambda: cache.stats["misses"] == 5)
        go.set()
        self.assertEqual(([a.get() for a in asked], fills), (["a1"] * 3, ["a"]))
        cache.set("b", "b")
        cache.get("a")
        cache.set("c", "c")
        self.assertEqual((cache.get("a"), cache.get("b"), cache.get("c")), ("a1", None, "c"))
        cache.set("short", 1, 0.005)
        until(lambda: cache.get("short") is None)
        self.fails("E-USAGE", cache.set, "x", 1, -1)
        with self.assertRaises(ZeroDivisionError):
            cache.fill("bad", lambda: 1 / 0)
        self.assertEqual(cache.fill("bad", lambda: None), None)
        self.assertEqual(cache.fill("bad", lambda: "None is a value"), None)

    def test_cache_removed_while_filled(self):
        m = self.start()
        cache = m.cache("c")
        self.agent.answer("cache:use", {})
        until(lambda: cache._live)
        for op, body in (("cache:del", {"cache": "c", "key": "k"}), ("cache:drop", {"cache": "c"}), ("gap", {"missed": 1})):
            begun, go = threading.Event(), threading.Event()
            old = self.later(cache.fill, "k", lambda: (begun.set(), go.wait(10)) and "old")
            self.assertTrue(begun.wait(10))
            self.agent.tell(op, body)
            until(lambda: not cache._fills)
            fresh = cache.fill("k", lambda: "new")
            go.set()
            self.assertEqual((old.get(), fresh, cache.get("k")), ("old", "new", "new"), op)
            self.agent.tell(op, body)
            until(lambda: cache.get("k") is None)
        cache.set("k", 1)
        deleting = self.later(cache.delete, "k")
        self.assertEqual(self.agent.answer("cache:del", {})["body"], {"cache": "c", "key": "k"})
        deleting.get()
        self.assertEqual(cache.get("k"), None)

    def test_heartbeat_and_settings(self):
        alive, changed = [True], []
        m = self.start(welcome={"heartbeat_ms": 50}, alive=lambda: alive[0])
        for _ in range(3):
            self.assertEqual(self.agent.next("heartbeat"), {"cmd": "MUSTER_OP", "op": "heartbeat"})
        m.on("config", changed.append)
        alive[0] = False
        m.send("", "sync")
        self.agent.next("sync")
        m.send("", "sync")
        self.agent.next("sync")
        self.agent.frames.clear()
        self.agent.none("heartbeat", 0.06)
        alive[0] = True
        self.agent.next("heartbeat")
        self.agent.tell("config:changed", {"heartbeat_ms": 0, "changes": ["x"]})
        until(lambda: changed and changed[0]["changes"] == ["x"])
        self.agent.frames.clear()
        self.agent.none("heartbeat", 0.05)

    def test_only_muster_says_what_is_musters(self):
        m = self.start()
        heard = []
        m.on("config", heard.append)
        self.agent.tell("config:changed", {}, **{"from": "web#1"})
        self.assertEqual(self.ask("commands:run", {"name": "x"})["code"], "E-UNKNOWN-OP")
        self.assertEqual(heard, [])

    def test_what_cannot_be_understood_does_no_harm(self):
        m = self.start()
        self.agent.sock.sendall(b'\n{"torn\n[[[\n')
        for f in ({"cmd": "MUSTER_OP"}, {"cmd": "MUSTER_OP", "op": 5}, {"cmd": "MUSTER_REPLY"}, {"cmd": "MUSTER_REPLY", "id": "x"}, {"cmd": "MUSTER_CANCEL"},
                  {"cmd": "MUSTER_FAILED"}, {"cmd": "MUSTER_OP", "op": "gap"}, {"cmd": "MUSTER_OP", "op": "cache:del", "body": None},
                  {"cmd": "MUSTER_OP", "op": "agent:new", "body": None}, {"cmd": "MUSTER_OP", "op": "config:changed", "body": "x"}, {"cmd": "MUSTER_OP", "op": "nobody"}):
            self.agent.send(f)
        self.agent.tell("commands:run", None, id=1)
        self.assertEqual(self.agent.next("MUSTER_REPLY")["error"]["code"], "E-UNKNOWN-OP")
        self.assertEqual((m.counts["unreadable"], len(self.errors)), (4, 1))

    def test_frames_in_pieces(self):
        m = self.start()
        got = []
        m.on("message", got.append)
        text = '{"cmd":"MUSTER_OP","op":"x","id":4,"body":"grüß"}\n{"cmd":"NODE_MUSTER_OP","op":"x","id":5}\n{"mine":1}\n"text"\n{"cmd":"MUSTER_PING","id":6}\n'.encode()
        for i in range(0, len(text), 7):
            self.agent.sock.sendall(text[i:i + 7])
        self.assertEqual([self.agent.next("MUSTER_REPLY")["id"] for _ in range(2)], [4, 5])
        self.assertEqual(self.agent.next("MUSTER_PONG")["id"], 6)
        until(lambda: len(got) == 2)

    def test_the_end_of_the_channel(self):
        m = self.start()
        ended = []
        m.on("end", lambda: ended.append(1))
        asked = self.later(m.request, "web", "x")
        self.agent.next("x")
        self.agent.close()
        self.fails("E-AGENT-UNREACHABLE", asked.get)
        self.fails("E-AGENT-UNREACHABLE", m.request, "web", "x")
        self.fails("E-AGENT-UNREACHABLE", m.send, "web", "x")
        m.ready()
        m.lifecycle("x")
        self.assertTrue(m.wait(10))
        until(lambda: ended == [1])
        self.assertTrue(m.limiter("x", 1, fail="open").allow())

    def test_asyncio(self):
        m = self.start()

        async def main():
            loop, a, seen = asyncio.get_running_loop(), m.aio, []

            async def handler(body):
                seen.append(asyncio.get_running_loop() is loop)
                return body

            a.handle("here", handler)

            def agent():
                self.agent.answer("cache:use", {})
                self.agent.tell("here", 1, id=3)
                self.agent.next("MUSTER_REPLY")
                f = self.agent.next("stats")
                self.agent.reply(f, 1, more=True, **{"from": "web#1"})
                self.agent.reply(f, {"asked": 1, "replied": 1})
                self.agent.answer("lock:acquire", {"held": True, "fence": 2})
                self.agent.answer("lock:release", {})
                return self.agent.next("slow")

            script = loop.run_in_executor(None, agent)
            cache = a.cache("c")
            while not cache._live:
                await asyncio.sleep(0.01)
            answers = [x.body async for x in a.gather("web", "stats")]
            async with a.lock("l").hold() as held:
                fence = held.fence
            task = asyncio.ensure_future(a.request("web", "slow"))
            f = await script
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            async def make(key):
                await asyncio.sleep(0.01)
                return key

            filled = await asyncio.gather(*(cache.fill("k", make) for _ in range(3)))
            return seen, answers, fence, f, filled, cache.stats["fills"]

        seen, answers, fence, f, filled, fills = asyncio.run(main())
        self.assertEqual((seen, answers, fence, filled, fills), ([True], [1], 2, ["k"] * 3, 1))
        self.assertEqual(self.agent.next("MUSTER_CANCEL")["id"], f["id"])


class Alone(unittest.TestCase):
    def setUp(self):
        self.m = muster.Worker(None, {}, "nobody has started it")

    def fails(self, code, f, *args, **kw):
        with self.assertRaises(muster.MusterError) as caught:
            f(*args, **kw)
        self.assertEqual(caught.exception.code, code, caught.exception)

    def test_others_are_not_there(self):
        m, seen = self.m, []
        self.assertEqual(m.alone, "nobody has started it")
        for f, args in ((m.request, ("web", "x")), (lambda: list(m.gather("web", "x")), ()), (m.hello, ()), (m.kill, ())):
            self.fails("E-ALONE", f, *args)
        self.assertEqual((m.tell("web", "x"), m.peers(), m.commands()), ({"receivers": 0}, [], []))
        m.send("", "x")
        m.ready()
        m.status("x")
        m.lifecycle("x")
        cancel = m.subscribe("room", lambda body, request: seen.append((body, request.from_)))
        self.assertEqual(m.publish("room", {"a": 1}), {"receivers": 0})
        self.assertEqual(m.publish("room", {"a": 1}, to_self=True), {"receivers": 1})
        until(lambda: seen)
        cancel()
        self.assertEqual(m.publish("room", 1, to_self=True), {"receivers": 0})
        self.assertEqual(len(seen), 1)

    def test_limiter(self):
        limiter = self.m.limiter("l", 1, 3, 0.5)
        self.assertEqual([limiter.take("k").allowed for _ in range(4)], [True, True, True, False])
        self.assertTrue(0 < limiter.take("k").wait <= 0.5)
        self.assertTrue(limiter.wait("k"))
        for rate, burst, interval, tokens in ((0, None, 1, 1), (-1, None, 1, 1), (1, None, 0, 1), (1, 0.5, 1, 1), (1, None, 1, 2), (1, None, 1, 0)):
            self.fails("E-USAGE", self.m.limiter("bad", rate, burst, interval).take, tokens=tokens)

    def test_lock(self):
        lock = self.m.lock("k", 2.0)
        first = lock.acquire()
        self.assertIsNone(lock.try_acquire())
        self.fails("E-DEADLINE", lock.acquire, 0.02)
        order = []

        def other(n):
            with lock.hold():
                order.append(n)

        threads = [threading.Thread(target=other, args=(n,)) for n in (1, 2)]
        for t in threads:
            t.start()
        self.assertFalse(first.lost.wait(2.6))  # it is kept alive over its lease
        self.assertEqual(order, [])
        first.release()
        for t in threads:
            t.join(10)
        self.assertEqual(sorted(order), [1, 2])
        self.fails("E-NOT-OWNER", self.m.request, "", "lock:release", {"name": "k", "token": first.token})
        self.assertGreater(lock.try_acquire().fence, first.fence)

    def test_counter_and_cache(self):
        counter = self.m.counter("c")
        self.assertEqual((counter.add(5), counter.add(-2), counter.get()), (5, 3, 3))
        cache = self.m.cache("c")
        self.assertEqual((cache.fill("k", lambda: 1), cache.fill("k", lambda: 2)), (1, 1))
        cache.delete("k")
        self.assertEqual(cache.fill("k", lambda: 2), 2)
        cache.drop()
        self.assertIsNone(cache.get("k"))


if __name__ == "__main__":
    unittest.main()
