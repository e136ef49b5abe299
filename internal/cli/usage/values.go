package usage

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/spec"
)

// Negatives marks the "-1" of `scale web -1`, which would be read as a flag.
func Negatives(args []string) []string {
	if !slices.Contains(args, "scale") {
		return args
	}
	marked := slices.Clone(args)
	for i, a := range marked {
		if a == "--" {
			break
		}
		if _, err := strconv.ParseUint(strings.TrimPrefix(a, "-"), 10, 16); err == nil && strings.HasPrefix(a, "-") {
			marked[i] = "+" + a
		}
	}
	return marked
}

// ScaleOrder reads the N, +N or -N of an order to scale.
func ScaleOrder(cmd *cobra.Command, selector, number string) (api.Order, error) {
	o := api.Order{Selector: selector, Relative: strings.HasPrefix(number, "+") || strings.HasPrefix(number, "-")}
	n, err := strconv.Atoi(strings.TrimPrefix(number, "+"))
	if err != nil || n > spec.MaxWorkers || n < -spec.MaxWorkers {
		return o, Wrong(cmd, "%q is no number of workers: write N, +N or -N, at most %d", number, spec.MaxWorkers)
	}
	o.Workers = n
	return o, nil
}

// LogWindow reads -n, --since and --stream.
func LogWindow(cmd *cobra.Command, o *client.LogOptions, lines, since string, now time.Time) error {
	if o.Stream != "" && o.Stream != "stdout" && o.Stream != "stderr" {
		return Wrong(cmd, "--stream %s: write stdout or stderr", o.Stream)
	}
	if o.Lines = -1; lines != "all" {
		n, err := strconv.Atoi(lines)
		if err != nil || n < 0 {
			return Wrong(cmd, "-n %s: write a number or all", lines)
		}
		o.Lines = n
	}
	if since == "" {
		return nil
	}
	var d spec.Duration
	if err := d.UnmarshalText([]byte(since)); err == nil {
		o.Since = now.Add(-d.D())
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, since, time.Local); err == nil {
			o.Since = t
			return nil
		}
	}
	return Wrong(cmd, "--since %s: write a duration like 10m or a time like 2006-01-02T15:04:05Z", since)
}

// HasFlag looks for a flag before "--", so that a usage error knows it, too.
func HasFlag(args []string, flag string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if a == flag {
			return true
		}
	}
	return false
}
