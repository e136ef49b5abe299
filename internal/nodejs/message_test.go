package nodejs

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/internal/channel"
)

// frames are what Node.js workers have been seen to send, and what they mean.
func frames() map[string]Message {
	none := Message{Seq: -1, Ack: -1}
	with := func(change func(*Message)) Message { m := none; change(&m); return m }
	cluster := func(kind Kind, seq int64, change func(*Message)) Message {
		return with(func(m *Message) {
			m.Kind, m.Seq, m.Name = kind, seq, kind.String()
			if kind == Reply {
				m.Name = cmdCluster
			}
			change(m)
		})
	}
	same := func(*Message) {}
	query := func(q Query) func(*Message) { return func(m *Message) { m.Query = q } }
	return map[string]Message{
		`{"cmd":"NODE_CLUSTER","act":"online","seq":0}`: cluster(Online, 0, same),
		`{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"port":8000,"addressType":4,"backlog":0,"seq":1}`: cluster(QueryServer, 1, query(
			Query{Port: 8000, Type: "4", FD: -1},
		)),
		`{"cmd":"NODE_CLUSTER","act":"queryServer","index":2,"data":null,"address":"::1","port":"8000","addressType":6,"backlog":false,"flags":1,"seq":1}`: cluster(QueryServer, 1, query(
			Query{Index: 2, Address: "::1", Port: 8000, Type: "6", FD: -1, Flags: 1},
		)),
		`{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":{"ticketKeys":"00ff"},"address":"127.0.0.1","port":443,"addressType":4,"fd":-1,"backlog":511,"seq":1}`: cluster(QueryServer, 1, query(
			Query{Data: json.RawMessage(`{"ticketKeys":"00ff"}`), Address: "127.0.0.1", Port: 443, Type: "4", FD: -1, Backlog: 511},
		)),
		`{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"/run/a.sock","port":-1,"addressType":-1,"readableAll":true,"writableAll":1,"seq":4}`: cluster(QueryServer, 4, query(
			Query{Address: "/run/a.sock", Port: -1, Type: "-1", FD: -1, Readable: true, Writable: true},
		)),
		`{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"port":null,"addressType":null,"fd":3,"seq":4}`: cluster(QueryServer, 4, query(
			Query{FD: 3},
		)),
		`{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"0.0.0.0","port":null,"addressType":"udp4","fd":-1,"flags":4,"seq":4}`: cluster(QueryServer, 4, query(
			Query{Address: "0.0.0.0", Type: "udp4", FD: -1, Flags: 4},
		)),
		`{"cmd":"NODE_CLUSTER","act":"listening","index":0,"data":null,"address":null,"port":8000,"addressType":4,"seq":2}`: cluster(Listening, 2, query(
			Query{Port: 8000, Type: "4", FD: -1},
		)),
		`{"cmd":"NODE_CLUSTER","act":"close","key":"K","seq":4}`:                 cluster(Close, 4, func(m *Message) { m.Key = "K" }),
		`{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":9}`:           cluster(ExitedAfterDisconnect, 9, same),
		`{"cmd":"NODE_CLUSTER","ack":2,"accepted":true,"seq":3}`:                 cluster(Reply, 3, func(m *Message) { m.Ack, m.Accepted = 2, true }),
		`{"cmd":"NODE_CLUSTER","ack":1763000000000000,"accepted":false,"seq":3}`: cluster(Reply, 3, func(m *Message) { m.Ack = 1763000000000000 }),
		`{"cmd":"NODE_CLUSTER","act":"dance","seq":3}`:                           with(func(m *Message) { m.Seq, m.Name = 3, "dance" }),
		frameAck:  with(func(m *Message) { m.Kind, m.Name = HandleAck, cmdAck }),
		frameNack: with(func(m *Message) { m.Kind, m.Name = HandleNack, cmdNack }),
		`{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":9007199254740993},"key":"4:null:8000"}`: with(func(m *Message) {
			m.Kind, m.Name, m.Type, m.SocketKey, m.Msg = Handle, cmdHandle, "net.Socket", "4:null:8000", json.RawMessage(`{"a":9007199254740993}`)
		}),
		`{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"k"}`:                   with(func(m *Message) { m.Kind, m.Name, m.SocketKey = SocketsClosed, cmdSocketsClosed, "k" }),
		`{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}`:                      with(func(m *Message) { m.Kind, m.Name, m.SocketKey = SocketsCount, cmdSocketsCount, "k" }),
		`{"cmd":"NODE_DEBUG_ENABLED"}`:                                   with(func(m *Message) { m.Name = "NODE_DEBUG_ENABLED" }),
		`{ "seq": 7, "act" : "close", "key":"K", "cmd":"NODE_CLUSTER" }`: cluster(Close, 7, func(m *Message) { m.Key = "K" }),
		// Of two equal keys the last counts; case matters.
		`{"cmd":"NODE_CLUSTER","act":"close","key":"a","key":"b","KEY":"c","Seq":1,"seq":2}`:  cluster(Close, 2, func(m *Message) { m.Key = "b" }),
		`{"cmd":"NODE_CLUSTER","act":"queryServer","port":8e3,"index":99999999999,"seq":1.0}`: cluster(QueryServer, 1, query(Query{Port: 8000, FD: -1})),
	}
}

func TestParse(t *testing.T) {
	for text, want := range frames() {
		got, err := Parse([]byte(text))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("x", textMax+1)
	for name, text := range map[string]string{
		"no JSON":            `{"cmd":"NODE_CLUSTER"`,
		"no object":          `["NODE_CLUSTER"]`,
		"a user's message":   `{"act":"online"}`,
		"muster's":           `{"cmd":"MUSTER_READY"}`,
		"an act of no text":  `{"cmd":"NODE_CLUSTER","act":7,"seq":1}`,
		"a key of no text":   `{"cmd":"NODE_CLUSTER","act":"close","key":{},"seq":1}`,
		"no seq":             `{"cmd":"NODE_CLUSTER","act":"queryServer","port":1}`,
		"a long key":         `{"cmd":"NODE_CLUSTER","act":"close","key":"` + long + `","seq":1}`,
		"a long address":     `{"cmd":"NODE_CLUSTER","act":"queryServer","address":"` + long + `","seq":1}`,
		"an address, a list": `{"cmd":"NODE_CLUSTER","act":"listening","address":[],"seq":1}`,
		"a type of no text":  `{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":{},"seq":1}`,
		"much data":          `{"cmd":"NODE_CLUSTER","act":"queryServer","data":"` + strings.Repeat("x", dataMax) + `","seq":1}`,
		"much of anything":   `{"cmd":"NODE_CLUSTER","act":"online","more":"` + strings.Repeat("x", controlMax) + `","seq":1}`,
		"a handle's type":    `{"cmd":"NODE_HANDLE","type":1,"msg":{}}`,
		"a handle's key":     `{"cmd":"NODE_HANDLE","key":1,"msg":{}}`,
		"a socket's key":     `{"cmd":"NODE_SOCKET_GET_COUNT","key":[]}`,
	} {
		if m, err := Parse([]byte(text)); !errors.Is(err, ErrFrame) || len(err.Error()) > 300 {
			t.Errorf("%s: %+v, %.400v", name, m, err)
		}
	}
}

// A message of user code may be as large as a frame.
func TestParseLargeHandle(t *testing.T) {
	msg := `"` + strings.Repeat("x", 2*controlMax) + `"`
	m, err := Parse([]byte(`{"cmd":"NODE_HANDLE","type":"net.Socket","msg":` + msg + `}`))
	if err != nil || string(m.Msg) != msg {
		t.Errorf("%d bytes, %v", len(m.Msg), err)
	}
}

func TestHotReply(t *testing.T) {
	for text, want := range map[string]struct {
		ack          int64
		accepted, ok bool
	}{
		`{"cmd":"NODE_CLUSTER","ack":2,"accepted":true,"seq":3}`:                   {2, true, true},
		`{"cmd":"NODE_CLUSTER","ack":0,"accepted":false,"seq":0}`:                  {0, false, true},
		`{"cmd":"NODE_CLUSTER","ack":1763812904123456,"accepted":true,"seq":123}`:  {1763812904123456, true, true},
		`{"cmd":"NODE_CLUSTER","ack":1234567890123456789,"accepted":true,"seq":1}`: {},
		`{"cmd":"NODE_CLUSTER","ack":02,"accepted":true,"seq":3}`:                  {},
		`{"cmd":"NODE_CLUSTER","ack":,"accepted":true,"seq":3}`:                    {},
		`{"cmd":"NODE_CLUSTER","ack":2,"accepted":true,"seq":3,"act":"x"}`:         {},
		`{"cmd":"NODE_CLUSTER","ack":2,"accepted":true,"seq":3`:                    {},
		`{"cmd":"NODE_CLUSTER","ack":2,"accepted":1,"seq":3}`:                      {},
		`{"cmd":"NODE_CLUSTER","ack":2`:                                            {},
		`{"cmd":"NODE_CLUSTER","act":"online","seq":0}`:                            {},
		``: {},
	} {
		ack, accepted, ok := hotReply([]byte(text))
		if ok != want.ok || ok && (ack != want.ack || accepted != want.accepted) {
			t.Errorf("%s: %d %v %v", text, ack, accepted, ok)
		}
	}
}

func TestConnections(t *testing.T) {
	for text, want := range map[string]int{
		`{"cmd":"MUSTER_CONNECTIONS","open":0}`:   0,
		`{"cmd":"MUSTER_CONNECTIONS","open":512}`: 512,
		`{"cmd":"MUSTER_CONNECTIONS","open":-1}`:  -1,
		`{"cmd":"MUSTER_CONNECTIONS","open":1} `:  -1,
		`{"cmd":"MUSTER_READY"}`:                  -1,
	} {
		n, ok := Connections([]byte(text))
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%s: %d %v", text, n, ok)
		}
	}
}

// Whatever comes, reading it ends with a message within the limits or an ErrFrame, and
// the quick way says what the thorough one says.
func FuzzFrames(f *testing.F) {
	for text := range frames() {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"cmd":"NODE_\u0043LUSTER","ack":1,"accepted":true,"seq":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatal(err)
			}
		} else if cmd := channel.Command(data); !strings.HasPrefix(cmd, prefix) {
			t.Fatalf("%q was read", cmd)
		}
		if len(m.Key) > textMax || len(m.Query.Address) > textMax || len(m.Query.Data) > dataMax {
			t.Fatalf("%+v", m)
		}
		if ack, accepted, ok := hotReply(data); ok && (err != nil || m.Kind != Reply || m.Ack != ack || m.Accepted != accepted) {
			t.Fatalf("%q: %d %v, but %+v, %v", data, ack, accepted, m, err)
		}
		l := NewLink(func([]byte, ...int) error { return nil }, func() int64 { return 1 })
		hot := m.Kind == HandleAck || m.Kind == HandleNack || m.Kind == Reply
		if l.First(data) && (err != nil || !hot) {
			t.Fatalf("%q is hot, but %+v, %v", data, m, err)
		}
		if err == nil {
			l.Heard(m)
		}
	})
}
