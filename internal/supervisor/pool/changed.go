package pool

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/muster-run/muster/spec"
)

// Of so many changes a worker is told each by itself, in so many bytes.
const changesMax, changeMax = 100, 400

// tell tells the workers what is declared otherwise from now on (op.ConfigChanged), and
// has what may change under them take effect: also those that are to be replaced for it.
func (p *Pool) tell(changes []spec.Change) {
	if len(changes) == 0 {
		return
	}
	lines := changeLines(changes)
	for _, w := range p.workers() {
		w.Change(w.Gen.Release.App, lines)
	}
}

func changeLines(changes []spec.Change) (lines []string) {
	for _, c := range changes[:min(len(changes), changesMax)] {
		lines = append(lines, changeLine(c))
	}
	if more := len(changes) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// changeLine is "ports.http 8000 → 9000"; "none" is what is not there.
func changeLine(c spec.Change) string {
	line := fmt.Sprintf("%s %s → %s", c.Field, cmp.Or(c.Old, "none"), cmp.Or(c.New, "none"))
	return strings.ToValidUTF8(line[:min(len(line), changeMax)], "")
}
