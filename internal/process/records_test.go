package process_test

import (
	"slices"
	"testing"

	"github.com/muster-run/muster/internal/process"
)

func TestRecords(t *testing.T) {
	store := process.NewDirectStore()
	defer store.Close()
	r := process.Records{Store: store}
	if text, err := r.Load("pool/web"); text != nil || err != nil {
		t.Fatalf("found %q, %v", text, err)
	}
	for _, text := range []string{"first, and longer", "second"} {
		if err := r.Save("pool/web", []byte(text)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // reading moves nothing
			if got, err := r.Load("pool/web"); string(got) != text || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
	if err := r.Save("agent", nil); err != nil {
		t.Fatal(err)
	}
	if got := r.Names("pool/"); !slices.Equal(got, []string{"pool/web"}) {
		t.Errorf("%q", got)
	}
	f, _ := store.Get("record/pool/web")
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a record can be changed")
	}
	f.Close()
	if err := r.Forget("pool/web"); err != nil {
		t.Fatal(err)
	}
	if text, _ := r.Load("pool/web"); text != nil {
		t.Errorf("not forgotten: %q", text)
	}
}
