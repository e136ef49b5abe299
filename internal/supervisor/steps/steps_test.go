package steps

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// owned is an Owner and what it has done, in order.
type owned struct {
	*Owner
	did    []string
	broken []any
}

func inBubble(t *testing.T, test func(t *testing.T, o *owned)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &owned{}
		o.Owner = New(Options{
			Name: "web", Settle: func() { o.note("settle") }, Save: func() { o.note("save") },
			Broken: func(cause any) { o.broken = append(o.broken, cause) },
		})
		test(t, o)
		o.Post(func() { o.End(fault.New(fault.NotRunning, "the end")) })
		<-o.Done()
	})
}

func (o *owned) note(what string) { o.did = append(o.did, what) }

// Effects come in order after one save for all steps that waited together.
func TestRecordBeforeAct(t *testing.T) {
	inBubble(t, func(t *testing.T, o *owned) {
		for i := range 2 {
			o.Post(func() {
				o.note(fmt.Sprint("step ", i))
				o.After(func() { o.note(fmt.Sprint("effect ", i)) })
			})
		}
		go o.Run()
		synctest.Wait()
		want := []string{"step 0", "settle", "step 1", "settle", "save", "effect 0", "effect 1"}
		if !slices.Equal(o.did, want) {
			t.Errorf("%q, want %q", o.did, want)
		}
	})
}

// An effect of an effect is performed too, after another save.
func TestEffectOfAnEffect(t *testing.T) {
	inBubble(t, func(t *testing.T, o *owned) {
		go o.Run()
		o.Do(func() { o.After(func() { o.note("one"); o.After(func() { o.note("two") }) }) })
		synctest.Wait()
		if want := []string{"settle", "save", "one", "save", "two"}; !slices.Equal(o.did, want) {
			t.Errorf("%q, want %q", o.did, want)
		}
	})
}

// Do returns when what was done is saved; after the end it says so.
func TestDo(t *testing.T) {
	inBubble(t, func(t *testing.T, o *owned) {
		go o.Run()
		if !o.Do(func() { o.note("step") }) || !slices.Contains(o.did, "save") {
			t.Errorf("%q", o.did)
		}
		if !o.Do(func() { panic("no") }) || len(o.broken) != 1 || !o.Do(func() {}) {
			t.Errorf("a panic ended it: %v", o.broken)
		}
		o.Post(func() { o.End(nil) })
		<-o.Done()
		if o.Do(func() {}) || o.Post(func() {}) {
			t.Error("a step after the end")
		}
	})
}

// What is asked for together with the end is not left without an answer.
func TestEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, o *owned) {
		answers := make(chan *fault.Fault, 1)
		go func() { answers <- o.Await(t.Context(), func() (bool, *fault.Fault) { return false, nil }) }()
		synctest.Wait()
		last := make(chan bool, 1)
		o.Post(func() { o.End(fault.New(fault.NotRunning, "the end")); o.After(func() { o.note("last effect") }) })
		go func() { last <- o.Do(func() {}) }()
		synctest.Wait()
		go o.Run()
		if f := <-answers; f == nil || f.Text != "the end" && f.Code != fault.NotRunning {
			t.Errorf("%v", f)
		}
		if <-last || !slices.Contains(o.did, "last effect") {
			t.Errorf("%q", o.did)
		}
	})
}

func TestAwait(t *testing.T) {
	inBubble(t, func(t *testing.T, o *owned) {
		go o.Run()
		n := 0
		answers := make(chan *fault.Fault, 1)
		go func() {
			answers <- o.Await(t.Context(), func() (bool, *fault.Fault) { return n == 2, fault.New(fault.Exited, "two") })
		}()
		for range 2 {
			synctest.Wait()
			o.Do(func() { n++ })
		}
		if f := <-answers; f == nil || f.Text != "two" {
			t.Errorf("%v", f)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if f := o.Await(ctx, func() (bool, *fault.Fault) { return false, nil }); f == nil || f.Code != fault.Timeout {
			t.Errorf("%v", f)
		}
		synctest.Wait()
		if o.Do(func() {}); len(o.waiters) != 0 {
			t.Error("somebody waits who has gone")
		}
	})
}

func TestLine(t *testing.T) {
	var l Line
	var did []string
	free := 2
	for _, name := range []string{"a", "b", "c"} {
		l.Add(Order{
			Run:     func() { did = append(did, name); free-- },
			Dropped: func(f *fault.Fault) { did = append(did, name+" "+f.Text) },
		})
	}
	l.Advance(func() bool { return free > 0 })
	l.Drop(fault.New(fault.ReloadAborted, "dropped"))
	l.Drop(fault.New(fault.ReloadAborted, "again"))
	if want := []string{"a", "b", "c dropped"}; !slices.Equal(did, want) {
		t.Errorf("%q", did)
	}
}
