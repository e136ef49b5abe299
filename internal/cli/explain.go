package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/spec"
)

func (s *session) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain [CODE]", Short: "Explain an error code",
		Long:    "Explain tells what an error code means and what to do about it; without a code it\nlists all of them.",
		Example: "  muster explain E-READY-TIMEOUT",
		Args:    between(0, 1, "a code such as E-READY-TIMEOUT"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return s.listCodes()
			}
			return s.explain(args[0])
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return codes(), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func (s *session) explain(word string) error {
	code := strings.ToUpper(word)
	if !strings.HasPrefix(code, "E-") {
		code = "E-" + code
	}
	for _, e := range fault.Table() {
		if string(e.Code) != code {
			continue
		}
		if done, err := s.printData(e); done || err != nil {
			return err
		}
		s.out.Printf("%s: %s\n\n%s\n\nfix: %s\nexit code: %d\n", s.out.Paint(show.Bold, code), e.Summary, e.Text, e.Fix, e.Exit)
		return nil
	}
	f := fault.New(fault.Usage, "there is no error code %q", word).WithFix("`muster explain` lists them")
	if near := spec.Nearest(code, codes()); near != "" {
		f = f.WithFix("did you mean " + near + "?")
	}
	return f
}

func (s *session) listCodes() error {
	if done, err := s.printData(fault.Table()); done || err != nil {
		return err
	}
	t := show.Table{Columns: []show.Column{{Name: "CODE"}, {Name: "EXIT", Keep: 1}, {Name: "SUMMARY"}}}
	for _, e := range fault.Table() {
		t.Add(string(e.Code), strconv.Itoa(e.Exit), e.Summary)
	}
	t.Write(s.out)
	return nil
}

func codes() []string {
	var list []string
	for _, e := range fault.Table() {
		list = append(list, string(e.Code))
	}
	return list
}
