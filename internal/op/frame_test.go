package op

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/muster-run/muster/fault"
)

func full() Frame {
	return Frame{
		Cmd: CmdReply, Op: "chat:säy\"\n", ID: 1763800000000001, To: "web#1,tag:e", All: true, From: "web#0", PID: 4711, Within: 1500,
		Channel: "room", Queue: "q", Hops: 3, Again: true, Body: json.RawMessage(`{"a":[1,2.5e3,"x\n\u00e4",null,true,false,{}]}`),
		Error: &Error{Code: fault.Deadline, Text: `a "text"`, Fix: "f"}, More: true,
	}
}

func TestFramesReadWhatTheyWrite(t *testing.T) {
	for _, f := range []Frame{full(), {Cmd: CmdOp, Op: "x"}, {Cmd: CmdCancel, ID: 1}, {Cmd: CmdOp, Op: "x", Within: -1, Body: json.RawMessage("null")}} {
		line := f.Append(nil)
		if !Is(line) {
			t.Errorf("%s is not seen as a frame", line)
		}
		got, err := Parse(line)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s\nis read as %+v, %v", line, got, err)
		}
		var other Frame
		if err := json.Unmarshal(line, &other); err != nil || !reflect.DeepEqual(other, f) {
			t.Errorf("%s\nencoding/json reads it as %+v, %v", line, other, err)
		}
	}
}

func TestParse(t *testing.T) {
	deep := strings.Repeat("[", DepthMax-1) + strings.Repeat("]", DepthMax-1)
	for text, want := range map[string]Frame{
		` { "cmd" : "MUSTER_OP" , "op":"a" } `:                      {Cmd: CmdOp, Op: "a"},
		`{"c\u006dd":"MUSTER\u005fOP","op":"\u0061"}`:               {Cmd: CmdOp, Op: "a"},
		`{"op":"a","op":"b","cmd":"MUSTER_OP","id":null,"z":[{}]}`:  {Cmd: CmdOp, Op: "b"},
		`{"cmd":"MUSTER_OP","op":"a","within":1500.9,"id":12e2}`:    {Cmd: CmdOp, Op: "a", Within: 1500, ID: 1200},
		`{"cmd":"MUSTER_OP","op":"a","id":9223372036854775807}`:     {Cmd: CmdOp, Op: "a", ID: 9223372036854775807},
		`{"cmd":"MUSTER_OP","op":"a","body": null }`:                {Cmd: CmdOp, Op: "a", Body: json.RawMessage("null")},
		`{"cmd":"MUSTER_OP","op":"a","body":` + deep + `}`:          {Cmd: CmdOp, Op: "a", Body: json.RawMessage(deep)},
		`{"cmd":"MUSTER_CANCEL","id":-5}`:                           {Cmd: CmdCancel, ID: -5},
		`{"cmd":"MUSTER_REPLY","id":1,"error":{"code":"E","x":[]}}`: {Cmd: CmdReply, ID: 1, Error: &Error{Code: "E"}},
	} {
		if got, err := Parse([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.100s is read as %+v, %v", text, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		``, ` `, `{`, `{}`, `[]`, `"x"`, `{"cmd":"MUSTER_PING"}`, `{"cmd":"NODE_MUSTER_OP","op":"a"}`, `{"cmd":5}`,
		`{"cmd":"MUSTER_OP"`, `{"cmd":"MUSTER_OP"}}`, `{"cmd":"MUSTER_OP",}`, `{"cmd":"MUSTER_OP" "op":"a"}`, `{"cmd":"MUSTER_OP","op":5}`,
		`{"cmd":"MUSTER_OP","id":"5"}`, `{"cmd":"MUSTER_OP","id":1e300}`, `{"cmd":"MUSTER_OP","id":01}`, `{"cmd":"MUSTER_OP","pid":3000000000}`,
		`{"cmd":"MUSTER_OP","all":1}`, `{"cmd":"MUSTER_OP","body":}`, `{"cmd":"MUSTER_OP","body":nul}`, `{"cmd":"MUSTER_OP","body":"` + "\x01" + `"}`,
		`{"cmd":"MUSTER_OP","body":"\x"}`, `{"cmd":"MUSTER_OP","body":"\u12g4"}`, `{"cmd":"MUSTER_OP","body":1.}`, `{"cmd":"MUSTER_OP","body":-}`,
		`{"cmd":"MUSTER_OP","body":"` + "\xff" + `"}`, `{"cmd":"MUSTER_REPLY","error":"text"}`, `{"cmd":"MUSTER_OP",cmd:1}`,
		`{"cmd":"MUSTER_OP","body":` + strings.Repeat("[", 1<<19) + strings.Repeat("]", 1<<19) + `}`,
	} {
		if got, err := Parse([]byte(text)); fault.CodeOf(err) != fault.Usage || !reflect.DeepEqual(got, Frame{}) {
			t.Errorf("%.100q is read as %+v, %v", text, got, err)
		}
	}
}

func TestParseTellsWhatIsTooLarge(t *testing.T) {
	fits := `"` + strings.Repeat("x", BodyMax-2) + `"`
	if f, err := Parse([]byte(`{"cmd":"MUSTER_OP","op":"a","id":7,"body":` + fits + `}`)); err != nil || len(f.Body) != BodyMax {
		t.Errorf("a body of %d bytes: %v", BodyMax, err)
	}
	for _, body := range []string{`"x` + fits[1:], `"` + strings.Repeat("x", 10<<20) + `"`} {
		f, err := Parse([]byte(`{"cmd":"MUSTER_OP","op":"a","id":7,"body":` + body + `}`))
		if fault.CodeOf(err) != fault.TooLarge || f.ID != 7 || f.Op != "a" || f.Body != nil {
			t.Errorf("%d bytes: %+v, %v", len(body), f, err)
		}
	}
}

func TestValidIsWhatOthersCanRead(t *testing.T) {
	for text, want := range map[string]bool{`1`: true, ` {"a":[]} `: true, "": false, "1 2": false, "[1,\n2]": false, "\"\xff\"": false, `"ä"`: true, `{"a":1,}`: false} {
		if got := Valid([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestReadPublish(t *testing.T) {
	b, err := ReadPublish([]byte(`{"channel":"r","message":null,"op":null,"self":true}`))
	if err != nil || b.Channel != "r" || string(b.Message) != "null" || !b.Self || b.Op != "" {
		t.Errorf("%+v, %v", b, err)
	}
	for _, bad := range []string{`[]`, `{"channel":5}`, `null`, `{"self":"x"}`} {
		if _, err := ReadPublish([]byte(bad)); !errors.Is(err, errJSON) && !errors.Is(err, errType) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// What the scanner calls valid is what encoding/json does, in UTF-8 and not too deep.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"cmd":"MUSTER_OP","op":"a","id":1,"body":{"x":[1,-0.5e+7,"\ud83d\ude00"]}}`, string(full().Append(nil)), `[[[]]]`, `"\u00`, `-0`, `1e`, "\"\x7f\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := scanner{data: data}
		_, err := s.value(0)
		ok := err == nil && s.peek() == 0 && s.pos == len(data)
		if want := json.Valid(data); ok != want && !errors.Is(err, errDeep) {
			t.Fatalf("%q: valid %v, encoding/json says %v", data, ok, want)
		}
		frame, err := Parse(data)
		if err != nil {
			if fault.CodeOf(err) != fault.TooLarge && !reflect.DeepEqual(frame, Frame{}) {
				t.Fatalf("%q: an error and %+v", data, frame)
			}
			return
		}
		if !utf8.Valid(data) || !json.Valid(data) {
			t.Fatalf("%q is read", data)
		}
		if len(frame.Body) > 0 && strings.ContainsAny(string(data), "\n") {
			return // no line
		}
		again, err := Parse(frame.Append(nil))
		if err != nil || !reflect.DeepEqual(again, frame) {
			t.Fatalf("%q: %+v, again: %+v, %v", data, frame, again, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	line := []byte(`{"cmd":"MUSTER_OP","op":"limiter:take","id":1763800000000001,"to":"web#1","body":{"name":"api","key":"u1","rate":5}}`)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}
