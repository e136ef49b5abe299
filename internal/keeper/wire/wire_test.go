package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/spool"
	"github.com/muster-run/muster/spec"
)

// Every error means to errors.Is and fault.CodeOf at the client what it meant at
// the keeper.
func TestFailures(t *testing.T) {
	full := fault.New(fault.CommandNotFound, "x: %w", syscall.ENOENT).At("web#1").WithOutput([]string{"a", "b"}).WithFix("install it")
	got := FromError(fmt.Errorf("wrapped: %w", full)).Err()
	var f *fault.Fault
	if !errors.As(got, &f) || !errors.Is(got, fs.ErrNotExist) {
		t.Fatalf("%#v", got)
	}
	if want := *full; !reflect.DeepEqual(*f, want) {
		t.Errorf("%+v, want %+v", *f, want)
	}
	for _, err := range known() {
		if got := FromError(err).Err(); got != err {
			t.Errorf("%v is not %v", got, err)
		}
		if got := FromError(fmt.Errorf("so: %w", err)).Err(); !errors.Is(got, err) || got.Error() != "so: "+err.Error() {
			t.Errorf("%v is not %v", got, err)
		}
	}
	path := &os.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}
	if got := FromError(path).Err(); !errors.Is(got, fs.ErrPermission) || got.Error() != path.Error() {
		t.Errorf("%v", got)
	}
	if got := FromError(errors.New("plain")).Err(); got.Error() != "plain" {
		t.Errorf("%v", got)
	}
}

// A command is the same on the other side, its bytes included.
func TestCommandCrosses(t *testing.T) {
	mask, nice, core := spec.FileMode(0o27), -3, spec.Bytes(math.MaxInt64)
	c := process.Command{
		ID: "a", Argv: []string{"x", "\xff\x00<&>\n"}, Env: []string{"A=\xfe", "B=é\u2028"}, Dir: "/\x80", Listen: 1,
		Identity: &process.Identity{UID: 1, GID: 2, Groups: []uint32{3}}, Umask: &mask, Cgroup: true, Spool: "/s", Meta: []byte{0, 255},
		Limits: spec.Limits{CPU: 0.5, NoFile: 9, Nice: &nice, OOMScore: &nice, Core: &core, NoNewPrivs: true},
		KillAt: time.Now().Add(time.Hour),
	}
	text, bad, err := DecodeRequest(encode(t, Request{Op: OpStart, Command: FromCommand(c)}))
	if bad != nil || err != nil {
		t.Fatal(bad, err)
	}
	got := text.Command.Process()
	if d := got.KillAt.Sub(c.KillAt); d.Abs() > time.Second {
		t.Errorf("the deadline has moved by %v", d)
	}
	got.KillAt = c.KillAt
	if !reflect.DeepEqual(got, c) {
		t.Errorf("%+v\n%+v", got, c)
	}
	if !FromBoot(ToBoot(time.Time{})).IsZero() || ToBoot(time.Unix(1, 0)) != 1 {
		t.Error("no deadline, or one long ago")
	}
}

// A request is decoded to the same request again.
func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"op":"hello","id":1,"protocol":1,"min":1}`))
	f.Add([]byte(`{"op":"start","command":{"id":"a","argv":["x",{"base64":"/w=="}],"umask":"0022","limits":{"nice":3}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, bad, err := DecodeRequest(data)
		if bad != nil || err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		r2, bad, err := DecodeRequest(again)
		third, err2 := json.Marshal(r2)
		if bad != nil || err != nil || err2 != nil || string(third) != string(again) {
			t.Errorf("%s\n%s\n%v %v %v", again, third, bad, err, err2)
		}
	})
}

// What a spool holds in memory is the same on the other side, but for streams that
// there are none of.
func TestStateCrosses(t *testing.T) {
	s := spool.State{Committed: 3, Skip: [2]int64{1, 2}, End: 9, Over: true, Held: []spool.HeldChunk{
		{Pos: 9, Stream: 2, Time: time.Unix(5, 6).UTC(), Data: []byte{0, 255}},
	}}
	var got State
	if err := json.Unmarshal(encode(t, FromState(s)), &got); err != nil {
		t.Fatal(err)
	}
	got.Held = append(got.Held, held{Pos: 30, Stream: 3})
	if !reflect.DeepEqual(got.Spool(), s) {
		t.Errorf("%+v", got.Spool())
	}
}

// A process and its end are the same on the other side.
func TestProcCrosses(t *testing.T) {
	e := process.Exit{ID: "a", PID: 3, Code: -1, Signal: syscall.SIGSEGV, Core: true, Time: time.Unix(7, 8).UTC(), CPU: time.Minute}
	p := process.Proc{ID: "a", PID: 3, StartTime: 4, Leader: 5, LeaderStart: 6, Cgroup: "/c", Meta: []byte("m"), Exit: &e}
	var got Proc
	if err := json.Unmarshal(encode(t, FromProc(p)), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, FromProc(p)) || !reflect.DeepEqual(got.Exit.Process(), e) {
		t.Errorf("%+v", got)
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
