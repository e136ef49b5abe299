package output

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// The bounds of LineMax, in bytes. A setting outside is moved to the nearest one.
const (
	lineMaxLeast   = 16
	lineMaxDefault = 64 << 10
	lineMaxMost    = 16 << 20
)

// splitter cuts one stream into lines.
type splitter struct {
	part []byte // an unfinished line, at most max+1 bytes (the last may be a \r)
}

// lineFunc gets a line, or with cut a piece of one that goes on; used is how many
// bytes of the stream that was, with the line's end.
type lineFunc func(line string, cut bool, used int)

// feed takes the next bytes and gives every finished line, and every piece of
// max bytes of a line that is longer, to yield. The strings share memory with
// each other, not with data.
func (s *splitter) feed(data []byte, max int, yield lineFunc) {
	if len(s.part) > 0 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 && len(s.part)+len(data) <= max+1 {
			s.part = append(s.part, data...)
			return
		}
		end := i + 1
		if i < 0 {
			end = len(data)
		}
		joined := string(append(s.part, data[:end]...))
		s.part = s.part[:0]
		s.split(joined, max, yield)
		data = data[end:]
	}
	if len(data) > 0 {
		s.split(string(data), max, yield)
	}
}

// split needs an empty s.part and leaves what is unfinished in it.
func (s *splitter) split(text string, max int, yield lineFunc) {
	for text != "" {
		end := strings.IndexByte(text, '\n')
		line, finished := text, end >= 0
		left := end + 1 // of the line
		if finished {
			line, text = text[:end], text[end+1:]
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
		}
		limit := max
		if !finished {
			limit++ // a \r may still turn out to belong to the line's end
		}
		for len(line) > limit {
			n := cutAt(line, max)
			yield(line[:n], true, n)
			line, left = line[n:], left-n
		}
		if !finished {
			s.part = append(s.part[:0], line...)
			return
		}
		yield(line, false, left)
	}
}

// rest gives the unfinished line, if there is one, to yield.
func (s *splitter) rest(max int, yield lineFunc) {
	if len(s.part) == 0 {
		return
	}
	line := string(s.part)
	s.part = nil
	for len(line) > max {
		n := cutAt(line, max)
		yield(line[:n], true, n)
		line = line[n:]
	}
	yield(line, false, len(line))
}

// cut gives what there is of the unfinished line to yield, as a piece of it. A
// character that is not whole yet stays, unless it is all there is.
func (s *splitter) cut(max int, yield lineFunc) {
	for len(s.part) > 0 {
		n := min(len(s.part), max)
		if n < len(s.part) {
			n = cutAt(string(s.part), max)
		} else if whole := n - tornRune(s.part); whole > 0 {
			n = whole
		}
		yield(string(s.part[:n]), true, n)
		s.part = append(s.part[:0], s.part[n:]...)
		if len(s.part) < utf8.UTFMax {
			return
		}
	}
}

// tornRune is the length of the beginning of a character at the end of b.
func tornRune(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// cutAt is where a line of more than max bytes is cut: at max, or up to three
// bytes before it so that no character is torn.
func cutAt(line string, max int) int {
	for i := max; i > max-utf8.UTFMax && i > 0; i-- {
		if utf8.RuneStart(line[i]) {
			if _, size := utf8.DecodeRuneInString(line[i:]); i == max || size > max-i {
				return i
			}
			break
		}
	}
	return max
}
