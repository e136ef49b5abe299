package whom

import (
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

func TestSelectors(t *testing.T) {
	web := api.Target{App: "web", Role: "front", Tags: []string{"edge"}}
	for text, want := range map[string][3]bool{ // web#1, client:ops, client:
		"web": {true}, "web#1": {true}, "web#2": {}, "all": {true}, "*": {true}, "tag:edge": {true}, "role:front": {true}, "role:web": {},
		"client:ops": {false, true}, "client:o?s": {false, true}, "client:*": {false, true, true}, "client:x": {},
		"web#1, client:ops": {true, true}, "client:x,client:ops,none": {false, true}, "none,web": {true},
	} {
		s, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := [3]bool{s.Worker(web, 1), s.Client("client:ops"), s.Client("client:")}; got != want {
			t.Errorf("%s means %v", text, got)
		}
	}
	for _, text := range []string{"", ",", "web,", "client:", "client:[", "web#x", "client:a,web#x"} {
		if _, err := Parse(text); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v", text, err)
		}
	}
	var none Selector
	if none.Worker(web, 1) || none.Client("client:x") {
		t.Error("the zero value means somebody")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"web,client:x", "client:[a-]", "role:*,tag:x", " , "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		more, errMore := Parse(text + ",client:more")
		if (err == nil) != (errMore == nil) || err == nil && !more.Client("client:more") {
			t.Errorf("%q: %v, with one more: %v", text, err, errMore)
		}
		s.Worker(api.Target{App: text}, 0)
		s.Client(text)
	})
}

func TestChannels(t *testing.T) {
	for _, tc := range []struct{ name, app, want string }{
		{"room", "web", "room"},
		{":room", "web", "web:room"},
		{"a:b", "", "a:b"},
		{":", "web", "web:"},
		{"", "web", ""},
		{":room", "", ""},
		{"a\nb", "web", ""},
		{string(make([]byte, 300)), "web", ""},
	} {
		got, f := Channel(tc.name, tc.app)
		if got != tc.want || (f == nil) != (tc.want != "") || f != nil && f.Code != fault.Usage {
			t.Errorf("%q of %s: %q, %v", tc.name, tc.app, got, f)
		}
	}
}
