package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// JSONLines is one line for v, or for each element of a slice.
func JSONLines(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		err := enc.Encode(v)
		return out.Bytes(), err
	}
	for i := range list.Len() {
		if err := enc.Encode(list.Index(i).Interface()); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// YAML prints what v is in JSON as block YAML, keys in the same order.
func YAML(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var out bytes.Buffer
	y := yamlWriter{dec: dec, out: &out}
	if err := y.value(0, false); err != nil {
		return nil, err
	}
	return bytes.TrimLeft(out.Bytes(), "\n"), nil
}

// yamlWriter copies a stream of JSON tokens as YAML.
type yamlWriter struct {
	dec *json.Decoder
	out *bytes.Buffer
}

// value writes the next value. dash: it stands directly behind "- ".
func (y yamlWriter) value(indent int, dash bool) error {
	t, err := y.dec.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('{'):
		return y.mapping(indent, dash)
	case json.Delim('['):
		return y.sequence(indent)
	}
	fmt.Fprintf(y.out, " %s\n", yamlScalar(t))
	return nil
}

func (y yamlWriter) mapping(indent int, dash bool) error {
	if !y.dec.More() {
		y.out.WriteString(" {}\n")
		_, err := y.dec.Token()
		return err
	}
	if dash {
		y.out.WriteByte(' ')
	} else {
		y.out.WriteByte('\n')
	}
	for first := true; y.dec.More(); first = false {
		key, err := y.dec.Token()
		if err != nil {
			return err
		}
		if !first || !dash {
			y.out.WriteString(strings.Repeat("  ", indent))
		}
		fmt.Fprintf(y.out, "%s:", yamlScalar(key))
		if err := y.value(indent+1, false); err != nil {
			return err
		}
	}
	_, err := y.dec.Token()
	return err
}

func (y yamlWriter) sequence(indent int) error {
	if !y.dec.More() {
		y.out.WriteString(" []\n")
		_, err := y.dec.Token()
		return err
	}
	y.out.WriteByte('\n')
	for y.dec.More() {
		fmt.Fprintf(y.out, "%s-", strings.Repeat("  ", indent))
		if err := y.value(indent+1, true); err != nil {
			return err
		}
	}
	_, err := y.dec.Token()
	return err
}

// plainWord needs no quotes in YAML; yamlWord looks like something else there.
var (
	plainWord = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9_./@+-]*$`)
	yamlWord  = regexp.MustCompile(`^(?i:true|false|yes|no|on|off|null|y|n)$`)
)

func yamlScalar(t json.Token) string {
	switch v := t.(type) {
	case nil:
		return "null"
	case string:
		if plainWord.MatchString(v) && !yamlWord.MatchString(v) {
			return v
		}
		quoted, _ := json.Marshal(v)
		return string(quoted)
	default:
		return fmt.Sprint(v)
	}
}
