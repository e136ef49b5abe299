"""Prints the settings of its app whenever they change; test/prop/settings.go in Python."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "..", "clients", "python"))
import muster

m = muster.open()
m.on("config", lambda settings: print("config", json.dumps(settings), flush=True))


@m.handle("order")
def order():
    try:
        m.reload("nosuch")
    except muster.MusterError as error:
        return error.code


m.handle("role", lambda: os.environ["MUSTER_ROLE"])
m.hello()
m.ready()
m.wait()
