package form

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/api"
)

func sample(line string) api.Record {
	return api.Record{
		Time: time.Date(2026, 11, 22, 5, 3, 54, 123456789, time.UTC),
		App:  "web", Slot: 2, PID: 4711, Stream: "stderr", Line: line,
	}
}

func TestJSONIsTheWireForm(t *testing.T) {
	for _, line := range []string{"", "plain", "tab\tquote\"back\\slash", "\x00\x1f\x7f", "ä😀\u2028", "\x1b[1mbold", "<&>", "a\xffb\xc3"} {
		for _, cut := range []bool{false, true} {
			r := sample(line)
			r.Cut = cut
			got := string(appendJSON(nil, &r))
			var back, want api.Record
			if err := json.Unmarshal([]byte(got), &back); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			wire, _ := json.Marshal(r)
			if err := json.Unmarshal(wire, &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, back); diff != "" {
				t.Errorf("%q: %s", line, diff)
			}
			if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "}\n") {
				t.Errorf("%q is not one line", got)
			}
		}
	}
}

func TestTextForm(t *testing.T) {
	r := sample("hello world")
	if got, want := string(appendText(nil, &r)), "2026-11-22T05:03:54.123Z web#2 err hello world\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.Cut, r.Stream = true, Stdout
	if got, want := string(appendText(nil, &r)), "2026-11-22T05:03:54.123Z web#2 out+ hello world\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTextRoundTrip(t *testing.T) {
	for _, r := range []api.Record{
		sample(""), sample("a b  c"), sample("\xff{"),
		{Time: sample("").Time, App: "web", Slot: -1, Stream: Stderr, Line: "muster: 3 lines lost"},
		{Time: sample("").Time, App: "web", Slot: 0, Stream: Stdout, Line: " x", Cut: true},
	} {
		line := strings.TrimSuffix(string(appendText(nil, &r)), "\n")
		got, ok := Decode([]byte(line), "other")
		r.Time, r.PID = r.Time.Truncate(time.Millisecond), 0
		if diff := cmp.Diff(r, got); !ok || diff != "" {
			t.Errorf("%q: %v %s", line, ok, diff)
		}
	}
}

func TestDecodeForeignAndTorn(t *testing.T) {
	for _, line := range []string{`{"time":"2026-11-2`, `{"a":1}`, `{`, ``} {
		if r, ok := Decode([]byte(line), "web"); ok {
			t.Errorf("%q is %+v", line, r)
		}
	}
	for _, line := range []string{"somebody wrote this", "2026-11-22T05:03:5", "2026-11-22T05:03:54.123Z web#x out a", "2026-11-22T05:03:54.123Z web#1 sideways a"} {
		r, ok := Decode([]byte(line), "web")
		if !ok || r.Line != line || r.Slot != -1 || r.App != "web" {
			t.Errorf("%q is %+v, %v", line, r, ok)
		}
	}
}

// TestDecodeOwn agrees with encoding/json, or refuses.
func TestDecodeOwn(t *testing.T) {
	for _, r := range []api.Record{sample("plain ä"), sample(""), {Time: sample("").Time, App: "a", Slot: -1, Cut: true}} {
		b := appendJSON(nil, &r)
		b = b[:len(b)-1]
		got, ok := decodeOwn(b)
		if diff := cmp.Diff(r, got); !ok || diff != "" {
			t.Errorf("%s: %v %s", b, ok, diff)
		}
		for n := range b {
			if got, ok := decodeOwn(b[:n]); ok {
				t.Errorf("%s: %+v", b[:n], got)
			}
		}
	}
	r := sample(`needs "escapes"`)
	b := appendJSON(nil, &r)
	if _, ok := decodeOwn(b[:len(b)-1]); ok {
		t.Errorf("%s", b)
	}
}

func FuzzDecode(f *testing.F) {
	r := sample("x")
	f.Add(appendText(nil, &r))
	f.Add(appendJSON(nil, &r))
	f.Fuzz(func(t *testing.T, b []byte) {
		Decode(b, "web")
		if got, ok := decodeOwn(b); ok {
			var want api.Record
			if err := json.Unmarshal(b, &want); err == nil && !cmp.Equal(want, got) {
				t.Fatalf("%q: %+v, want %+v", b, got, want)
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add("a\x00ä\xff\"")
	f.Fuzz(func(t *testing.T, line string) {
		r := sample(line)
		b := appendJSON(nil, &r)
		got, ok := Decode(b[:len(b)-1], "other")
		var wire api.Record
		text, _ := json.Marshal(sample(line))
		if err := json.Unmarshal(text, &wire); err != nil {
			t.Fatal(err)
		}
		if !ok || got.Line != wire.Line {
			t.Fatalf("%q became %q", line, got.Line)
		}
	})
}
