package cli

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/spec"
)

func (s *session) scaleCommand() *cobra.Command {
	flags := &orderFlags{}
	cmd := &cobra.Command{
		Use: "scale APP N|+N|-N", Short: "Change the number of workers",
		Long: "Scale sets the number of workers of an app, or changes it by a difference. New ones\n" +
			"are waited for until they are ready; those that go drain. It holds until the next\n" +
			"`muster up`, which takes the number from muster.yaml.",
		Example: "  muster scale web 8\n  muster scale web +2\n  muster scale web -1",
		Args:    exactly(2, "an app and a number: N, +N or -N"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := scaleOrder(cmd, args[0], args[1])
			if err != nil {
				return err
			}
			return s.give(cmd, flags, order{
				Order: o, call: (*client.Client).Scale, verb: "scale",
				doing: "scaling", goal: event.Ready, next: "muster status " + args[0],
			})
		},
		ValidArgsFunction: s.completeSelectors,
	}
	flags.register(cmd)
	return cmd
}

// negatives marks the "-1" of `scale web -1`, which would be read as a flag.
func negatives(args []string) []string {
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

func scaleOrder(cmd *cobra.Command, selector, number string) (api.Order, error) {
	o := api.Order{Selector: selector, Relative: strings.HasPrefix(number, "+") || strings.HasPrefix(number, "-")}
	n, err := strconv.Atoi(strings.TrimPrefix(number, "+"))
	if err != nil || n > spec.MaxWorkers || n < -spec.MaxWorkers {
		return o, usage(cmd, "%q is no number of workers: write N, +N or -N, at most %d", number, spec.MaxWorkers)
	}
	o.Workers = n
	return o, nil
}
