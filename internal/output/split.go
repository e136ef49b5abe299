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

// feed takes the next bytes and gives every finished line, and every piece of
// max bytes of a line that is longer, to yield. The strings share memory with
// each other, not with data.
func (s *splitter) feed(data []byte, max int, yield func(line string, cut bool)) {
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
func (s *splitter) split(text string, max int, yield func(line string, cut bool)) {
	for text != "" {
		end := strings.IndexByte(text, '\n')
		line, finished := text, end >= 0
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
			yield(line[:n], true)
			line = line[n:]
		}
		if !finished {
			s.part = append(s.part[:0], line...)
			return
		}
		yield(line, false)
	}
}

// rest gives the unfinished line, if there is one, to yield.
func (s *splitter) rest(max int, yield func(line string, cut bool)) {
	if len(s.part) == 0 {
		return
	}
	line := string(s.part)
	s.part = nil
	for len(line) > max {
		n := cutAt(line, max)
		yield(line[:n], true)
		line = line[n:]
	}
	yield(line, false)
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
