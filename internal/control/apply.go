package control

import (
	"context"
	"net/http"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func specParams() []Param {
	return []Param{{Name: "secrets", Type: "boolean", Text: "Do not mask secrets."}}
}

func (s *Server) spec(r *http.Request) (spec.Spec, error) {
	secrets, err := boolParam(r, "secrets", false)
	if err != nil {
		return spec.Spec{}, err
	}
	if secrets {
		return s.options.Apply.Spec(), nil
	}
	return s.options.Apply.Spec().Masked(), nil
}

func (s *Server) diff(_ context.Context, in api.ApplyRequest) (api.ApplyResult, error) {
	if err := sound(in.Spec); err != nil {
		return api.ApplyResult{}, err
	}
	return api.ApplyResult{Changes: someChanges(s.options.Apply.Diff(in.Spec))}, nil
}

func (s *Server) apply(ctx context.Context, in api.ApplyRequest) (api.ApplyResult, error) {
	if in.DryRun {
		return s.diff(ctx, in)
	}
	if err := sound(in.Spec); err != nil {
		return api.ApplyResult{}, err
	}
	s.ordered(ctx, "apply", in.Spec.File)
	out := s.options.Apply.Apply(ctx, in.Spec)
	out.Changes = someChanges(out.Changes)
	return out, nil
}

// sound refuses a spec that breaks a rule: nothing that runs is touched.
func sound(in spec.Spec) error {
	problems := in.Validate()
	if len(problems) == 0 {
		return nil
	}
	var lines []string
	for _, p := range problems {
		line := p.Path + ": " + p.Text
		if p.Fix != "" {
			line += " (" + p.Fix + ")"
		}
		lines = append(lines, line)
	}
	where := in.File
	if where == "" {
		where = "spec"
	}
	return fault.New(fault.Config, "%s", strings.Join(lines, "\n")).At(where)
}

// someChanges is never null on the wire.
func someChanges(c []spec.Change) []spec.Change {
	if c == nil {
		return []spec.Change{}
	}
	return c
}
