package show

import (
	"fmt"

	"github.com/muster-run/muster/spec"
)

// Changes prints one block for each app: what happens to it, and why.
func Changes(p *Printer, changes []spec.Change) {
	seen := ""
	for _, c := range changes {
		if title := changeTitle(c); title != seen {
			p.Line("%s", p.Paint(changeInk(c.Action), title))
			seen = title
		}
		if c.Field != "" {
			p.Line("    %s", changeWords(c))
		}
	}
}

func changeTitle(c spec.Change) string {
	switch c.Action {
	case spec.AddApp:
		return "+ " + c.App
	case spec.RemoveApp:
		return "- " + c.App
	case spec.ReloadApp:
		return "~ " + c.App + " (its workers are replaced, rolling)"
	case spec.ScaleApp:
		return "~ " + c.App + " (scaled)"
	case spec.UpdateApp:
		return "~ " + c.App + " (no worker is touched)"
	case spec.UpdateSpec:
	}
	return "~ project"
}

func changeInk(a spec.Action) Ink {
	switch a {
	case spec.AddApp:
		return Green
	case spec.RemoveApp:
		return Red
	case spec.ReloadApp, spec.ScaleApp, spec.UpdateApp, spec.UpdateSpec:
	}
	return Yellow
}

func changeWords(c spec.Change) string {
	switch {
	case c.Old == "":
		return fmt.Sprintf("%s: %s", c.Field, c.New)
	case c.New == "":
		return fmt.Sprintf("%s: %s (removed)", c.Field, c.Old)
	}
	return fmt.Sprintf("%s: %s -> %s", c.Field, c.Old, c.New)
}
