package channel

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestCommand(t *testing.T) {
	tests := map[string]string{
		`{"cmd":"NODE_HANDLE_ACK"}`:                                        "NODE_HANDLE_ACK",
		`{"cmd":"NODE_CLUSTER","act":"online","seq":0}`:                    "NODE_CLUSTER",
		`{"seq":0,"act":"online","cmd":"NODE_CLUSTER"}`:                    "NODE_CLUSTER",
		` { "cmd" : "MUSTER_READY" } `:                                     "MUSTER_READY",
		`{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"cmd":"mine"}}`:   "NODE_HANDLE",
		`{"type":"net.Socket","msg":{"cmd":"NODE_X"},"cmd":"NODE_HANDLE"}`: "NODE_HANDLE",
		`{"\u0063md":"NODE_\u0058"}`:                                       "NODE_X",
		`{"cmd":"\u004eODE_X"}`:                                            "NODE_X",
		`{"cmd":"mine","cmd":"NODE_X"}`:                                    "NODE_X",
		`{"cmd":"NODE_X","cmd":"mine"}`:                                    "",
		`{"cmd":"NODE_"}`:                                                  "",
		`{"cmd":"MUSTER_"}`:                                                "",
		`{"cmd":"node_x"}`:                                                 "",
		`{"CMD":"NODE_X"}`:                                                 "",
		`{"cmd":["NODE_X"]}`:                                               "",
		`{"cmd":1}`:                                                        "",
		`{"cmd":null}`:                                                     "",
		`{"msg":{"cmd":"NODE_X"}}`:                                         "",
		`[{"cmd":"NODE_X"}]`:                                               "",
		`"{\"cmd\":\"NODE_X\"}"`:                                           "",
		`{"cmd":"NODE_X"`:                                                  "",
		`{"cmd":"NODE_X"}x`:                                                "",
		`{}`:                                                               "",
		`null`:                                                             "",
		``:                                                                 "",
		`12345678901234567890`:                                             "",
	}
	for data, want := range tests {
		if got := Command([]byte(data)); got != want {
			t.Errorf("%s: %q, want %q", data, got, want)
		}
	}
}

// FuzzCommand holds the short cut to the plain way.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{`{"cmd":"NODE_X"}`, `{"a":1,"cmd":"MUSTER_\u0058"}`, `{"cmd":"NODE_X","cmd":[]}`, "[1]", "\x00", `{"cmd`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var object map[string]any
		_ = json.Unmarshal(data, &object)
		cmd, _ := object["cmd"].(string)
		if cmd == "NODE_" || cmd == "MUSTER_" || !strings.HasPrefix(cmd, "NODE_") && !strings.HasPrefix(cmd, "MUSTER_") {
			cmd = ""
		}
		if !json.Valid(data) {
			cmd = ""
		}
		if got := Command(data); got != cmd {
			t.Errorf("%q, want %q", got, cmd)
		}
	})
}

func TestFirstSeq(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	if a, b := FirstSeq(now), FirstSeq(now.Add(time.Microsecond)); a != 1767323045000006 || b != a+1 {
		t.Error(a, b)
	}
	if late := FirstSeq(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)); late >= 1<<53 {
		t.Error(late)
	}
}
