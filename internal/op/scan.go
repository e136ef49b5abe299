package op

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// DepthMax is how many arrays and objects may be inside each other in a frame. It is
// less than what the parsers of all languages bear.
const DepthMax = 500

var (
	errJSON = errors.New("it is no valid JSON in UTF-8")
	errDeep = errors.New("more than 500 arrays and objects are inside each other")
)

// scanner goes over JSON once, checks it, and makes nothing of it. The rules are those
// of RFC 8259, as encoding/json has them; the text must be UTF-8 (its caller checks).
type scanner struct {
	data []byte
	pos  int
}

// peek is the next byte behind white space, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// take goes over c, which must be next.
func (s *scanner) take(c byte) error {
	if s.peek() != c {
		return errJSON
	}
	s.pos++
	return nil
}

// key goes over a key and its colon; it may still have escapes.
func (s *scanner) key() ([]byte, error) {
	key, err := s.value(0)
	if err != nil || key[0] != '"' {
		return nil, errJSON
	}
	if err := s.take(':'); err != nil {
		return nil, err
	}
	return key, nil
}

// more says whether another member follows in what ends with end.
func (s *scanner) more(end byte) (bool, error) {
	switch s.peek() {
	case ',':
		s.pos++
		return true, nil
	case end:
		s.pos++
		return false, nil
	}
	return false, errJSON
}

// value goes over a value and returns its text without white space around it.
func (s *scanner) value(depth int) ([]byte, error) {
	c := s.peek()
	start := s.pos
	var err error
	switch c {
	case '"':
		err = s.text()
	case '{', '[':
		if depth >= DepthMax {
			return nil, errDeep
		}
		s.pos++
		err = s.members(c == '{', depth+1)
	case 't':
		err = s.word("true")
	case 'f':
		err = s.word("false")
	case 'n':
		err = s.word("null")
	default:
		err = s.number()
	}
	return s.data[start:s.pos], err
}

// members goes over what is inside of an object or array, and its end.
func (s *scanner) members(object bool, depth int) error {
	end := byte(']')
	if object {
		end = '}'
	}
	if s.peek() == end {
		s.pos++
		return nil
	}
	for {
		if object {
			if _, err := s.key(); err != nil {
				return err
			}
		}
		if _, err := s.value(depth); err != nil {
			return err
		}
		if more, err := s.more(end); !more {
			return err
		}
	}
}

func (s *scanner) word(w string) error {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return errJSON
	}
	s.pos += len(w)
	return nil
}

// text goes over a string; the next byte is its quote.
func (s *scanner) text() error {
	for i := s.pos + 1; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return nil
		case c == '\\':
			n := escape(s.data[i:])
			if n == 0 {
				return errJSON
			}
			i += n - 1
		case c < ' ':
			return errJSON
		}
	}
	return errJSON
}

// escape is the length of the escape that b begins with, 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if !digit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

func (s *scanner) number() error {
	if s.pos < len(s.data) && s.data[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.data) && s.data[s.pos] == '0' {
		s.pos++
	} else if !s.digits() {
		return errJSON
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		s.pos++
		if !s.digits() {
			return errJSON
		}
	}
	if s.pos < len(s.data) && s.data[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		if !s.digits() {
			return errJSON
		}
	}
	return nil
}

// digits goes over at least one.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && digit(s.data[s.pos]) {
		s.pos++
	}
	return s.pos > start
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// Valid says that data is one JSON value that can be the body of a frame: UTF-8, not
// too deep, on one line.
func Valid(data []byte) bool {
	s := scanner{data: data}
	if _, err := s.value(1); err != nil || s.peek() != 0 || s.pos != len(data) || !utf8.Valid(data) {
		return false
	}
	for _, c := range data {
		if c == '\n' {
			return false
		}
	}
	return true
}

// object calls set for each member of the object that data is. It ends at a key that
// want (nil: all) does not want, and does not look at what follows.
func object(data []byte, want func(key []byte) bool, set func(key, value []byte) error) error {
	s := scanner{data: data}
	if err := s.take('{'); err != nil {
		return err
	}
	more := s.peek() != '}'
	if !more {
		s.pos++
	}
	for more {
		key, err := s.key()
		if err != nil {
			return err
		}
		if key = plainKey(key); want != nil && !want(key) {
			return nil
		}
		value, err := s.value(1)
		if err == nil {
			err = set(key, value)
		}
		if err == nil {
			more, err = s.more('}')
		}
		if err != nil {
			return err
		}
	}
	if s.peek() != 0 || s.pos != len(data) {
		return errJSON
	}
	return nil
}

// plainKey is a key without its quotes and escapes.
func plainKey(key []byte) []byte {
	for _, c := range key {
		if c == '\\' {
			var text string
			_ = json.Unmarshal(key, &text) // it was checked
			return []byte(text)
		}
	}
	return key[1 : len(key)-1]
}
