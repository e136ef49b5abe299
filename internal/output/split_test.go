package output

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// splitAll feeds data in pieces of step bytes.
func splitAll(data string, step, max int) []string {
	var s splitter
	got := []string{}
	yield := func(line string, cut bool, _ int) {
		if cut {
			line += "…"
		}
		got = append(got, line)
	}
	for len(data) > 0 {
		n := min(step, len(data))
		b := []byte(data[:n])
		s.feed(b, max, yield)
		clear(b) // the splitter must not keep it
		data = data[n:]
	}
	s.rest(max, yield)
	return got
}

func TestSplit(t *testing.T) {
	x16 := strings.Repeat("x", 16)
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", []string{}},
		{"a\nb\n", []string{"a", "b"}},
		{"\n\n", []string{"", ""}},
		{"a\r\nb\rc\r\r\n", []string{"a", "b\rc\r"}},
		{"unfinished", []string{"unfinished"}},
		{"bar 10%\r", []string{"bar 10%\r"}},
		{x16 + "\n", []string{x16}},
		{x16 + "\r\n", []string{x16}},
		{x16 + "y\n", []string{x16 + "…", "y"}},
		{x16 + "y", []string{x16 + "…", "y"}},
		{x16 + x16 + x16, []string{x16 + "…", x16 + "…", x16}},
		{x16[:15] + "äö\n", []string{x16[:15] + "…", "äö"}},
		{x16[:13] + "😀z\n", []string{x16[:13] + "…", "😀z"}},
		{x16[:12] + "😀z\n", []string{x16[:12] + "😀…", "z"}},
		{x16[:15] + "\xff\xff\n", []string{x16[:15] + "\xff…", "\xff"}},
		{x16[:13] + "\x80\x80\x80\x80\n", []string{x16[:13] + "\x80\x80\x80…", "\x80"}},
		{"\x1b[31mred\x1b[0m\n", []string{"\x1b[31mred\x1b[0m"}},
	} {
		for _, step := range []int{1, 2, 3, 7, 16, 17, 100} {
			if diff := cmp.Diff(c.want, splitAll(c.in, step, 16)); diff != "" {
				t.Errorf("%q in steps of %d: %s", c.in, step, diff)
			}
		}
	}
}

// TestSplitEndless: a line without an end does not gather in memory.
func TestSplitEndless(t *testing.T) {
	var s splitter
	n := 0
	for range 1000 {
		s.feed(bytes.Repeat([]byte("a"), 1000), 1024, func(line string, cut bool, _ int) {
			if !cut || len(line) != 1024 {
				t.Fatal(cut, len(line))
			}
			n += len(line)
		})
		if len(s.part) > 1025 || cap(s.part) > 8192 {
			t.Fatal(len(s.part), cap(s.part))
		}
	}
	if n+len(s.part) != 1e6 {
		t.Fatal(n)
	}
}

// TestSplitCutInTheMiddle: what is given early is a piece of its line, and no
// character is torn.
func TestSplitCutInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		part, rest string
		want       []string
	}{
		{"", "a\n", []string{"a"}},
		{"abc", "d\n", []string{"abc…", "d"}},
		{"abc", "\n", []string{"abc…", ""}},
		{"ab\xc3", "\xa4c\n", []string{"ab…", "äc"}},
		{"ab\xf0\x9f\x98", "\x80\n", []string{"ab…", "😀"}},
		{"\xf0\x9f", "\x98\x80\n", []string{"\xf0\x9f…", "\x98\x80"}}, // there is nothing else to give
		{"ab\xa4\xa4\xa4\xa4", "\n", []string{"ab\xa4\xa4\xa4\xa4…", ""}},
		{strings.Repeat("x", 16) + "\r", "\n", []string{strings.Repeat("x", 16) + "…", ""}}, // the \r belongs to the end
	} {
		var s splitter
		got, used := []string{}, 0
		yield := func(line string, cut bool, n int) {
			if cut {
				line += "…"
			}
			got, used = append(got, line), used+n
		}
		s.feed([]byte(c.part), 16, yield)
		s.cut(16, yield)
		s.feed([]byte(c.rest), 16, yield)
		if diff := cmp.Diff(c.want, got); diff != "" || used != len(c.part)+len(c.rest) {
			t.Errorf("%q, %q: %d bytes, %s", c.part, c.rest, used, diff)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "a\nb", "x\r\n\r\n", strings.Repeat("ä", 40), strings.Repeat("a", 33) + "\r\n", "\xff\xfe\n"} {
		for step := range 5 {
			f.Add(s, step+1)
		}
	}
	f.Fuzz(func(t *testing.T, data string, step int) {
		step = max(1, step%64)
		const most = 16
		var s splitter
		var back strings.Builder
		var all []string
		taken := 0
		yield := func(line string, cut bool, used int) {
			end := data[taken+len(line) : taken+used]
			if data[taken:taken+len(line)] != line || cut && end != "" || end != "" && end != "\n" && end != "\r\n" {
				t.Fatalf("%q is not at %d of %q, or does not take %d bytes", line, taken, data, used)
			}
			taken += used
			if len(line) > most || strings.Contains(line, "\n") {
				t.Fatalf("%q", line)
			}
			if utf8.ValidString(data) && !utf8.ValidString(line) {
				t.Fatalf("a character is torn: %q", line)
			}
			back.WriteString(line)
			if !cut {
				back.WriteByte('\n')
			}
			all = append(all, fmt.Sprint(line, cut))
		}
		for rest := data; rest != ""; {
			n := min(step, len(rest))
			s.feed([]byte(rest[:n]), most, yield)
			rest = rest[n:]
		}
		s.rest(most, yield)
		if taken != len(data) {
			t.Fatalf("%d bytes of %q are taken", taken, data)
		}
		want := strings.ReplaceAll(data, "\r\n", "\n")
		// An unfinished last line is given a newline.
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if back.String() != want {
			t.Fatalf("%q became %q", want, back.String())
		}
	})
}
