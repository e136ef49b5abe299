# Speaks to muster as a Node.js worker does, and does it wrong. Its argument says how.
import json, os, socket, sys, time

fd = int(os.environ["NODE_CHANNEL_FD"])
sock = socket.socket(fileno=fd)
sock.setblocking(True)
seq = 0


def say(text, fds=()):
    data = text.encode() + b"\n"
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"".join(f.to_bytes(4, sys.byteorder) for f in fds))] if fds else [])


def act(**fields):
    global seq
    say(json.dumps({"cmd": "NODE_CLUSTER", **fields, "seq": seq}))
    seq += 1


def listens():
    act(act="queryServer", index=0, data=None, address=os.environ["HOST"], port=int(os.environ["PORT"]), addressType=4, flags=0)
    act(act="listening", index=0, data=None, address=os.environ["HOST"], port=int(os.environ["PORT"]), addressType=4, flags=0)


act(act="online")
kind = sys.argv[1]
if kind == "nonsense":
    null = os.open("/dev/null", os.O_RDONLY)
    for _ in range(50):
        for text in ['{"cmd":"NODE_CLUSTER","act":', '{"cmd":"NODE_CLUSTER"}', '{"cmd":"NODE_CLUSTER","act":"dance","seq":1}', 'null', '[]', '"', '{"cmd":"NODE_NOTHING"}',
                     '{"cmd":"NODE_CLUSTER","ack":99999,"accepted":true,"seq":2}', '{"cmd":"NODE_CLUSTER","ack":-1}', '{"cmd":"NODE_CLUSTER","act":"close","key":"nobody","seq":3}',
                     '{"cmd":"NODE_CLUSTER","act":"queryServer","address":7,"port":"x","addressType":{},"seq":4}',
                     '{"cmd":"NODE_CLUSTER","act":"queryServer","address":null,"port":null,"addressType":null,"fd":7,"seq":5}',
                     '{"cmd":"NODE_HANDLE","type":"net.Native","msg":{}}', '{"cmd":"NODE_HANDLE_ACK"}', '{"cmd":"NODE_HANDLE_NACK"}',
                     '{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"x"}', '{"cmd":"NODE_CLUSTER","act":"queryServer","address":"' + "a" * 5000 + '","port":-1,"addressType":-1,"seq":6}']:
            say(text)
        say('{"hello":1}', [null])
        say('{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":1}}', [null])
        say('{"cmd":"NODE_CLUSTER","act":"online","seq":0}', [null, null, null])
    print("said", flush=True)
elif kind == "endless":
    listens()
    try:
        while True:
            sock.sendall(b"x" * 65536)
    except OSError as err:
        print("cut off", flush=True)
elif kind == "deaf":
    listens()
    print("deaf", flush=True)
elif kind == "flood":
    listens()
    try:
        while True:
            say('{"a":"%s"}' % ("b" * 1000))
    except OSError as err:
        print("cut off", flush=True)
while True:
    time.sleep(60)
