package show

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
)

// Format is a value of -o.
type Format string

// The formats. The first two and the last are for people and scripts, each command's
// own; the others are data.
const (
	FormatTable Format = "table"
	FormatWide  Format = "wide"
	FormatJSON  Format = "json"
	FormatJSONL Format = "jsonl"
	FormatYAML  Format = "yaml"
	FormatName  Format = "name"
)

// Check refuses an unknown one.
func (f Format) Check() error {
	known := []string{"table", "wide", "json", "jsonl", "yaml", "name"}
	if !slices.Contains(known, string(f)) {
		return fault.New(fault.Usage, "-o %s is not understood", f).WithFix("choose one of " + strings.Join(known, ", "))
	}
	return nil
}

// Lines says that data is printed item by item: json too, for what has no end.
func (f Format) Lines() bool { return f == FormatJSON || f == FormatJSONL }

// Data says that it is one for data.
func (f Format) Data() bool { return f.Lines() || f == FormatYAML }

// Print prints v when it is a format for data; done says that it was.
func (f Format) Print(out io.Writer, v any) (done bool, err error) {
	var text []byte
	switch f {
	case FormatJSON:
		text, err = json.MarshalIndent(v, "", "  ")
		text = append(text, '\n')
	case FormatJSONL:
		text, err = JSONLines(v)
	case FormatYAML:
		text, err = YAML(v)
	default:
		return false, nil
	}
	if err != nil {
		return true, fault.New(fault.Internal, "cannot print the answer: %w", err)
	}
	_, err = out.Write(text)
	return true, err
}
