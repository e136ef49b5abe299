package show

import (
	"strings"

	"github.com/muster-run/muster/fault"
)

// Error prints a fault.
func (p *Printer) Error(f *fault.Fault) { p.fault(p.Paint(Red, "error:"), f) }

// Warning prints one that stopped nothing.
func (p *Printer) Warning(f fault.Fault) { p.fault(p.Paint(Yellow, "warning:"), &f) }

// fault prints what kind of thing it is, where, what and the code on one line,
// then the last output and what to do, indented.
func (p *Printer) fault(kind string, f *fault.Fault) {
	var b strings.Builder
	b.WriteString(kind + " ")
	if f.Where != "" && !strings.HasPrefix(f.Text+" ", f.Where+" ") && !strings.HasPrefix(f.Text, f.Where+":") {
		b.WriteString(f.Where + ": ")
	}
	b.WriteString(f.Text + " " + p.Paint(Dim, "("+string(f.Code)+")") + "\n")
	for _, line := range f.Output {
		b.WriteString("  " + p.Paint(Dim, "|") + " " + line + "\n")
	}
	if f.Fix != "" {
		b.WriteString("  " + p.Paint(Dim, "fix:") + " " + f.Fix + "\n")
	}
	p.Printf("%s", b.String())
}
