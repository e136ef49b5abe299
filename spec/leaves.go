package spec

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/muster-run/muster/spec/secret"
)

// leaves are the values of a spec by path: what is compared, and what is shown.
type leaves map[string]leaf

type leaf struct{ value, shown string }

// leavesOf takes a Spec or an App apart, along the JSON keys. Fields that are
// zero and may be left out have no leaf.
func leavesOf(v any) leaves {
	l := leaves{}
	l.walk("", reflect.ValueOf(v))
	if _, ok := l["node.no_drain"]; ok {
		delete(l, "node.no_drain")
		l["node.drain"] = leaf{"off", "off"}
	}
	// Where muster.yaml has other keys than the wire.
	for wire, key := range map[string]string{
		"project": "name", "health.url": "health.http", "health.address": "health.tcp", "health.command": "health.cmd",
	} {
		if v, ok := l[wire]; ok {
			delete(l, wire)
			l[key] = v
		}
	}
	return l
}

func (l leaves) walk(path string, v reflect.Value) {
	if l.whole(path, v) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			l.field(path, v.Type().Field(i), v.Field(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			l.walk(join(path, fmt.Sprint(key)), v.MapIndex(key))
		}
	case reflect.Slice:
		for i := range v.Len() {
			l.walk(path+"["+strconv.Itoa(i)+"]", v.Index(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			l.walk(path, v.Elem())
		}
	case reflect.String:
		l[path] = leaf{quoted(v.String()), shownValue(path, v.String())}
	default:
		text := fmt.Sprint(v.Interface())
		l[path] = leaf{text, text}
	}
}

// whole handles the values that are shown as one.
func (l leaves) whole(path string, v reflect.Value) bool {
	var value, shown string
	switch x := v.Interface().(type) {
	case []string:
		if len(x) == 0 {
			return true
		}
		value, shown = joinCommand(x), shownCommand(x)
	case Listener:
		value = x.String()
		shown = value
	case Port:
		value = x.String()
		shown = value
	case Dependency:
		value = x.App + ": " + string(x.Condition)
		shown = value
	case encoding.TextMarshaler:
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return true
		}
		text, err := x.MarshalText()
		if err != nil {
			return false
		}
		value, shown = string(text), string(text)
	default:
		return false
	}
	l[path] = leaf{value, shown}
	return true
}

func (l leaves) field(path string, f reflect.StructField, v reflect.Value) {
	key, option, _ := strings.Cut(f.Tag.Get("json"), ",")
	if option == "omitempty" && v.IsZero() {
		return
	}
	l.walk(join(path, key), v)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// String is the short form that ParseListen reads, with the settings of a UNIX
// socket and the backlog behind it.
func (l Listener) String() string {
	s := l.Address
	switch l.Network {
	case "tcp":
	case "unix", "fd":
		s = l.Network + ":" + s
	default:
		s = l.Network + "://" + s
	}
	if l.Name != "" {
		s += "=" + l.Name
	}
	if l.Network == "unix" {
		s += " mode " + l.Mode.String()
	}
	if l.Owner != "" || l.Group != "" {
		s += " owner " + l.Owner + ":" + l.Group
	}
	if l.Backlog != 0 {
		s += " backlog " + strconv.Itoa(l.Backlog)
	}
	if l.Balance != "" {
		s += " " + string(l.Balance)
	}
	return s
}

// String is "NAME NUMBER+INCREMENT in $ENV".
func (p Port) String() string {
	return fmt.Sprintf("%s %d+%d in $%s", p.Name, p.Number, p.Increment, p.Env)
}

// joinCommand writes an argument vector as a shell would read it.
func joinCommand(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		words[i] = quoted(arg)
	}
	return strings.Join(words, " ")
}

// shownCommand is joinCommand with secrets masked.
func shownCommand(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range secret.Args(argv) {
		words[i] = arg
		if plain := strings.ReplaceAll(arg, secret.Mask, "x"); quoted(plain) != plain {
			words[i] = quoted(arg)
		}
	}
	return strings.Join(words, " ")
}

// quoted puts quotes around a text that is empty or would be split.
func quoted(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`'"\`+"`$&|;<>()*?~#", r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// shownValue is a text as it is shown: a variable's value by its name, "" as ”.
func shownValue(path, value string) string {
	for _, prefix := range []string{"env.", "labels.", "slot_env."} {
		if name, ok := strings.CutPrefix(path, prefix); ok {
			if prefix == "slot_env." {
				_, name, _ = strings.Cut(name, ".")
			}
			return shownEnv(name, value)
		}
	}
	switch {
	case value == "":
		return "''"
	case strings.HasPrefix(path, "notify[") && !strings.HasSuffix(path, ".name") && !strings.HasSuffix(path, ".type"):
		return secret.Mask
	}
	return secret.Text(value)
}

func shownEnv(name, value string) string {
	if value == "" {
		return "''"
	}
	return secret.Env(name, value)
}
