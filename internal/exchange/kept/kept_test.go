package kept

import (
	"reflect"
	"testing"

	"github.com/muster-run/muster/internal/op"
)

func TestTable(t *testing.T) {
	hello := Record{ID: "a", Do: DoHello, Name: "web#1", App: "web", Role: "web", Tags: []string{"x"}, Slot: 1}
	t1 := Table{}
	for _, r := range []Record{
		{ID: "a", Do: DoSubscribe, Channel: "too early"},
		hello, hello,
		{ID: "a", Do: DoSubscribe, Channel: "c"},
		{ID: "a", Do: DoSubscribe, Channel: "c", Queue: "q"},
		{ID: "a", Do: DoSubscribe, Channel: "d"},
		{ID: "a", Do: DoUnsubscribe, Channel: "d"},
		{ID: "a", Do: DoListen, Op: "x"},
		{ID: "a", Do: DoListen, Op: "y"},
		{ID: "a", Do: DoUnlisten, Op: "x"},
		{ID: "a", Do: DoOffer, Command: &op.Command{Name: "n", Pattern: "old"}},
		{ID: "a", Do: DoOffer, Command: &op.Command{Name: "n", Pattern: "p", Help: "h"}},
		{ID: "a", Do: DoOffer, Command: &op.Command{Name: "m"}},
		{ID: "a", Do: DoOffer},
		{ID: "a", Do: DoWithdraw, Op: "m"},
		{ID: "a", Do: "of a later version"},
		{ID: "b", Do: DoHello},
		{ID: "b", Do: DoGone},
		{ID: "b", Do: DoListen, Op: "x"},
		{Do: DoHello},
	} {
		t1.Read(r.Line())
	}
	t1.Read([]byte("nonsense"))
	want := New(hello)
	want.Subs[Subscription{"c", ""}], want.Subs[Subscription{"c", "q"}], want.Listens["y"] = true, true, true
	want.Commands["n"] = op.Command{Name: "n", Pattern: "p", Help: "h"}
	if len(t1) != 1 || !reflect.DeepEqual(t1["a"], want) {
		t.Errorf("%+v", t1["a"])
	}
	t2 := Table{}
	t1["a"].Write(t2.Read)
	if !reflect.DeepEqual(t1, t2) {
		t.Errorf("written and read again: %+v", t2["a"])
	}
}
