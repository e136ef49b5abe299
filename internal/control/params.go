package control

import (
	"net/http"
	"strconv"

	"github.com/muster-run/muster/fault"
)

// boolParam reads a query parameter that is 1, true, 0, false or absent.
func boolParam(r *http.Request, name string, absent bool) (bool, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, fault.New(fault.Usage, "%s is %q", name, text).WithFix("give 1 or 0")
	}
	return v, nil
}
