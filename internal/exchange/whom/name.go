package whom

import (
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// Name says whether a text can be a name of at most limit bytes: not empty, and without
// anything that could not be shown.
func Name(text string, limit int) bool {
	return text != "" && len(text) <= limit && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Channel is the whole name of a channel: ":" stands for the process's own app ("": it
// has none). Its fault is of code Usage.
func Channel(name, app string) (string, *fault.Fault) {
	rest, own := strings.CutPrefix(name, ":")
	switch {
	case own && app == "":
		return "", fault.New(fault.Usage, "%q begins with a colon, which stands for an app, and a client has none", name).WithFix("write the whole name, such as web:" + rest)
	case own:
		name = app + name
	}
	if !Name(name, op.NameMax) {
		return "", fault.New(fault.Usage, "a channel has a name of 1 to %d bytes without control characters", op.NameMax).WithFix("name the channel, such as room:1")
	}
	return name, nil
}
