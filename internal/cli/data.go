package cli

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
)

// formats are the values of -o.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatJSONL = "jsonl"
	formatYAML  = "yaml"
	formatName  = "name"
)

// format is the chosen output format; table when none is.
func (s *session) format() string {
	switch {
	case s.flags.json:
		return formatJSON
	case s.flags.output == "":
		return formatTable
	}
	return s.flags.output
}

// checkFormat refuses an unknown -o.
func (s *session) checkFormat() error {
	known := []string{formatTable, formatWide, formatJSON, formatJSONL, formatYAML, formatName}
	if !slices.Contains(known, s.format()) {
		return fault.New(fault.Usage, "-o %s is not understood", s.format()).
			WithFix("choose one of " + strings.Join(known, ", "))
	}
	return nil
}

// printData prints v as data when a data format was chosen; done says that it was.
func (s *session) printData(v any) (done bool, err error) {
	var text []byte
	switch s.format() {
	case formatJSON:
		text, err = json.MarshalIndent(v, "", "  ")
		text = append(text, '\n')
	case formatJSONL:
		text, err = show.JSONLines(v)
	case formatYAML:
		text, err = show.YAML(v)
	default:
		return false, nil
	}
	if err != nil {
		return true, fault.New(fault.Internal, "cannot print the answer: %w", err)
	}
	_, err = s.out.Write(text)
	return true, err
}
