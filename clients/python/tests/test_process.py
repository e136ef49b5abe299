import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import unittest

from agent import HERE, Child, muster, until


class Process(unittest.TestCase):
    def run_program(self, name, **env):
        child = Child(name, **env)
        self.addCleanup(child.kill)
        return child

    def test_a_program_that_asks(self):
        child = self.run_program("ask")
        child.welcome()
        f = child.next("echo")
        child.reply(f, f["body"]["text"] + ": schön")
        self.assertEqual(child.wait(), (0, "True True grüß: schön\n", ""))

    def test_asyncio(self):
        child = self.run_program("ask_aio")
        child.welcome()
        for f in [child.next("echo") for _ in range(3)][::-1]:
            child.reply(f, f["body"] * 2)
        self.assertEqual(child.wait(), (0, "[0, 2, 4] False\n", ""))

    def test_handlers_do_not_keep_a_program_alive(self):
        child = self.run_program("idle")
        child.welcome()
        child.answer("subscribe", {})
        self.assertEqual(child.wait(), (0, "", ""))

    def test_the_channel_of_the_program(self):
        child = self.run_program("serve")
        child.welcome()
        self.assertEqual(child.next("MUSTER_READY"), {"cmd": "MUSTER_READY"})
        self.assertEqual(child.next("MUSTER_STATUS"), {"cmd": "MUSTER_STATUS", "text": "warm"})
        for message in ({"hello": 1}, "text", {"cmd": "mine"}):
            child.send(message)
            self.assertEqual(child.next("got")["body"], message)
        child.tell("echo", {"big": "ü" * 300000}, id=9)
        self.assertEqual(len(child.next("MUSTER_REPLY")["body"]["big"]), 300000)
        child.sock.shutdown(socket.SHUT_RDWR)
        code, out, err = child.wait()
        self.assertEqual((code, err), (0, ""))

    def test_a_crash_is_told(self):
        child = self.run_program("crash")
        child.welcome()
        body = child.next("crash")["body"]
        self.assertEqual((len(body["error"]), body["error_type"]), (3000, "Deep"))
        self.assertIn("in recurse", body["stack"])
        code, _, err = child.wait()
        self.assertEqual(code, 1)
        self.assertIn("Deep", err)

    def test_a_crash_of_a_thread_is_told(self):
        child = self.run_program("crash_thread")
        child.welcome()
        self.assertEqual(child.next("crash")["body"]["error_type"], "Deep")
        code, out, err = child.wait()
        self.assertEqual((code, out), (0, "lives on\n"))
        self.assertIn("Deep", err)

    def test_hooks_at_a_crash(self):
        child = self.run_program("crash_with_hooks")
        self.assertEqual(child.next("crash")["body"]["error"], "with hooks")
        code, out, err = child.wait()
        self.assertEqual((code, out), (1, "hook ValueError('with hooks')\n"))
        self.assertTrue(re.search(r"ValueError: with hooks[\s\S]*ZeroDivisionError[\s\S]*not ended within 0.3 s", err), err)

    def test_hooks_at_a_stop_signal(self):
        for name, want in (("hooks", -15), ("own", 7)):
            child = self.run_program(name)
            child.next("up")
            child.child.terminate()
            self.assertEqual(child.wait(), (want, "hook None\n", ""), name)

    def test_hooks_at_the_natural_end(self):
        child = self.run_program("natural")
        self.assertEqual(child.wait(), (0, "hook None\n", ""))

    def test_what_a_worker_starts_is_no_worker(self):
        child = self.run_program("children")
        child.welcome()
        line = "False it has no channel to muster (MUSTER_CHANNEL_FD) 2\n"
        self.assertEqual(child.wait(), (0, line + line, ""))

    def test_a_fork_acts_alone(self):
        child = self.run_program("fork")
        child.welcome()
        child.answer("cache:use", {})
        child.answer("echo", "yes")
        child.sock.shutdown(socket.SHUT_WR)
        code, out, err = child.wait()
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out.splitlines(), [
            "E-ALONE x needs other processes, and this one has none: it was forked by process PARENT, which has the channel True",
            "child 1 2 filled", "parent yes"])
        self.assertEqual([f["op"] for f in child.frames], [])

    def test_the_channel_ends_with_the_worker_not_with_its_forks(self):
        child = self.run_program("fork")
        child.welcome()
        child.answer("cache:use", {})
        child.answer("echo", "yes")
        child.child.kill()
        until(lambda: child.ended)

    def test_a_server_that_forks(self):
        child = self.run_program("prefork")
        child.welcome()
        until(lambda: child.next("echo") and True)
        lines = [child.child.stdout.readline() for _ in range(3)]
        self.assertEqual(sorted(lines), ["another process of this worker has the channel already\n"] * 2 + ["has the channel\n"])

    def test_alone(self):
        for env, line in (({"MUSTER_SDK": "off"}, "MUSTER_SDK is off"), ({"MUSTER_CHANNEL_FD": "77"}, "it has no channel to muster (MUSTER_CHANNEL_FD)"),
                          ({"MUSTER_CHANNEL_FD": "1"}, "it has no channel to muster (MUSTER_CHANNEL_FD)"), ({"MUSTER_CHANNEL_FD": "x"}, "it has no channel to muster (MUSTER_CHANNEL_FD)")):
            self.assertEqual(self.run_program("where", **env).wait(), (0, f"False {line} 2\n", ""))
        env = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
        out = subprocess.run([sys.executable, os.path.join(HERE, "programs.py"), "where"], env=env, capture_output=True, text=True).stdout
        self.assertEqual(out, "False it was not started by muster 2\n")

    def test_what_muster_does_not_read_is_bounded(self):
        child = self.run_program("flood")
        child.welcome()
        child._reading.clear()
        self.assertEqual(child.child.stdout.readline(), "E-CHANNEL-FULL\n")

    def talk(self, sock, lines, end):
        with sock:
            sock.settimeout(10)
            sock.sendall(lines.encode())
            got = ""
            while True:
                data = sock.recv(4096).decode()
                got += data
                if not data or end and end in got:
                    return got

    def test_a_console(self):
        where = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, where)
        child = self.run_program("serve")
        child.welcome(console_dir=where)
        for _ in range(2):
            child.tell("console:open", {}, id=1)
            path = child.next("MUSTER_REPLY")["body"]["path"]
            self.assertEqual((os.path.dirname(path), stat.S_IMODE(os.stat(path).st_mode)), (where, 0o600))
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            got = self.talk(sock, "40 + 2\nprint(muster.name)\nfor i in range(2):\n    print(i + 7)\n\n1/0\n'more'\n", "'more'")
            for part in ("web#0> 42\n", "web#0> web#0\n", "7\n8\n", "ZeroDivisionError", "'more'"):
                self.assertIn(part, got)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        self.assertIn("web#0> ", self.talk(sock, "quit\n", ""))
        child.tell("console:close", {}, id=2)
        child.next("MUSTER_REPLY")
        self.assertFalse(os.path.exists(path))

    def test_a_console_on_a_port(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        child = self.run_program("serve")
        child.welcome()
        child.tell("console:open", {}, id=1)
        self.assertEqual(child.next("MUSTER_REPLY")["error"]["code"], "E-CONSOLE")
        child.tell("config:changed", {"console_port": port})
        child.tell("console:open", {}, id=2)
        place = child.next("MUSTER_REPLY")["body"]
        self.assertEqual(place["address"], f"127.0.0.1:{port}")
        self.assertIn("42", self.talk(socket.create_connection(("127.0.0.1", port)), place["token"] + "\n40 + 2\n", "42"))
        for wrong in ("0" * 32 + "\n", "\n", "ü" * 16 + "\n"):
            self.assertEqual(self.talk(socket.create_connection(("127.0.0.1", port)), wrong, ""), "the token is not the right one\n")


class Exports(unittest.TestCase):
    def test_all(self):
        self.assertTrue(all(hasattr(muster, name) for name in muster.__all__))


if __name__ == "__main__":
    unittest.main()
