package cli

import "github.com/muster-run/muster/internal/cli/show"

// format is the chosen output format; table when none is.
func (s *session) format() show.Format {
	switch {
	case s.flags.json:
		return show.FormatJSON
	case s.flags.output == "":
		return show.FormatTable
	}
	return show.Format(s.flags.output)
}

// printData prints v as data when a data format was chosen; done says that it was.
func (s *session) printData(v any) (done bool, err error) { return s.format().Print(s.out, v) }
