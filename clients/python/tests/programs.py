"""The programs that test_process.py runs under a scripted agent."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import muster  # noqa: E402


def ask():
    """Asks once, and has nothing more to do."""
    m = muster.open()
    print(m is muster.open(), muster.is_worker(), m.request("web#1", "echo", {"text": "grüß"}))


def ask_aio():
    async def main():
        m = muster.open().aio
        got = await asyncio.gather(*(m.request("web#1", "echo", i) for i in range(3)))
        print(got, await m.wait(0.01))

    asyncio.run(main())


def idle():
    """Has handlers, which are no reason to live."""
    m = muster.open(handlers={"echo": lambda body: body})
    m.subscribe("room", print)
    m.cache("c")


def serve():
    m = muster.open(handlers={"echo": lambda body: body})
    m.on("message", lambda value: m.send("", "got", value))
    m.on("end", lambda: print("end"))
    m.ready()
    m.status("warm")
    m.wait()


class Deep(Exception):
    pass


def recurse(n):
    if n == 0:
        raise Deep("x" * 3000)
    recurse(n - 1) if n % 2 else recurse(n - 1)


def crash():
    muster.open()
    recurse(300)


def crash_thread():
    m = muster.open()
    t = threading.Thread(target=recurse, args=(3,))
    t.start()
    t.join()
    m.hello()
    print("lives on")


def crash_with_hooks():
    m = muster.open(stop_timeout=0.3)

    @m.on_stop
    async def hook(cause):
        await asyncio.sleep(0.02)
        print("hook", repr(cause))

    m.on_stop(lambda cause: 1 / 0)
    m.on_stop(lambda cause: threading.Event().wait())
    raise ValueError("with hooks")


def hooks():
    m = muster.open()
    m.on_stop(lambda cause: print("hook", cause))
    m.send("", "up")
    while True:
        time.sleep(1)


def own():
    m = muster.open()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    m.on_stop(lambda cause: print("hook", cause))
    m.send("", "up")
    while True:
        time.sleep(1)


def natural():
    muster.open().on_stop(lambda cause: print("hook", cause))


def where():
    m = muster.open()
    print(muster.is_worker(), m.alone, m.counter("c").add(2), flush=True)


def children():
    """Programs that a worker starts, before it has opened the channel and after."""
    def run():
        print(subprocess.run([sys.executable, __file__, "where"], capture_output=True, text=True).stdout, end="", flush=True)

    run()
    m = muster.open()
    m.hello()
    run()


def fork():
    """A process that forks when the channel is open: the child acts alone."""
    m = muster.open()
    m.hello()
    cache = m.cache("c")
    warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork beside threads is one
    pid = os.fork()
    if pid == 0:
        try:
            m.request("web", "x")
        except muster.MusterError as e:
            print(e.code, str(e).replace(str(os.getppid()), "PARENT"), muster.open() is m)
        with m.lock("l").hold() as held:
            print("child", held.fence, m.counter("c").add(2), cache.fill("k", lambda: "filled"))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    print("parent", m.request("web", "echo", "still here"), flush=True)
    m.wait()


def prefork():
    """A server that forks workers of its own (gunicorn): each opens for itself."""
    import muster as _  # imported in the parent, opened in none but the children

    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            m = muster.open()
            print(m.alone or "has the channel", flush=True)
            if m.alone:
                m.counter("c").add()
                os._exit(0)
            m.request("web", "echo", "x", within=60)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


def flood():
    m = muster.open()
    try:
        for _ in range(100):
            m.send("", "flood", "x" * 200000)
    except muster.MusterError as e:
        print(e.code, flush=True)


globals()[sys.argv[1]]()
