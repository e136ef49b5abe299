package line

import (
	"encoding/binary"
	"sync"
	"testing"
)

func parcel(n int) Parcel { return Parcel{Data: binary.BigEndian.AppendUint32(nil, uint32(n))} }

func TestOneSenderAtATime(t *testing.T) {
	var l Line
	if len(l.Take()) != 0 {
		t.Error("an empty line gives something")
	}
	l.Add(parcel(1))
	l.Add(parcel(2))
	first := l.Take()
	l.Add(parcel(3))
	if len(first) != 2 || len(l.Take()) != 0 {
		t.Error("two senders")
	}
	second := l.More(first)
	if len(second) != 1 || string(second[0].Data) != string(parcel(3).Data) {
		t.Errorf("%v", second)
	}
	l.Add(parcel(4))
	l.Resume(second)
	third := l.Take()
	if len(third) != 1 || len(l.More(third)) != 0 {
		t.Errorf("%v", third)
	}
	l.Add(parcel(5))
	if list := l.Take(); len(list) != 1 {
		t.Error("nobody may send any more")
	}
}

func TestWithin(t *testing.T) {
	var l Line
	state := func(frames, bytes int) {
		t.Helper()
		if l.Within(frames, 1000) || !l.Within(frames+1, 1000) || l.Within(1000, bytes) || !l.Within(1000, bytes+1) {
			t.Errorf("it is not %d frames, %d bytes", frames, bytes)
		}
	}
	state(0, 0)
	l.Add(parcel(1))
	l.Add(parcel(2))
	state(2, 8)
	list := l.Take()
	state(2, 8) // being sent
	l.Saw(5, 50)
	state(7, 58)
	l.Add(parcel(3))
	list = l.More(list)
	state(6, 54)
	l.Resume(list)
	state(5, 50)
	l.Saw(0, 0)
	state(0, 0)
	l.Add(parcel(4))
	l.Close()
	l.Add(parcel(5))
	if len(l.Take()) != 0 {
		t.Error("a closed line gives something")
	}
}

// Many who add and send: each parcel is sent once, in the order of Add.
func TestOrder(t *testing.T) {
	var l Line
	var deciding, sending sync.Mutex
	var sent []uint32
	next := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				deciding.Lock()
				l.Add(parcel(next))
				next++
				deciding.Unlock()
				for list := l.Take(); len(list) > 0; {
					if !sending.TryLock() {
						t.Error("two senders")
						return
					}
					for _, p := range list {
						sent = append(sent, binary.BigEndian.Uint32(p.Data))
					}
					sending.Unlock()
					if i%10 == 0 {
						l.Resume(list)
						list = l.Take()
						continue
					}
					list = l.More(list)
				}
			}
		})
	}
	all.Wait()
	if len(sent) != 4000 {
		t.Errorf("%d were sent", len(sent))
	}
	for i, n := range sent {
		if int(n) != i {
			t.Fatalf("%d was sent as number %d", n, i)
		}
	}
}
