package config

import (
	"cmp"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

func balanceValue(b *spec.Balance) table.Value {
	return table.Choice(b, spec.Balances(), map[string]string{
		"rr": "round-robin", "roundrobin": "round-robin", "round_robin": "round-robin", "leastconn": "least-connections",
		"least_conn": "least-connections", "least": "least-connections", "least-conn": "least-connections",
		"none": "shared", "kernel": "shared", "reuseport": "slots", "so_reuseport": "slots", "random": "slots",
	})
}

// orAuto is a choice whose "auto" is the variable's zero value.
type orAuto[T ~string] struct {
	table.Value
	p *T
}

func (v orAuto[T]) Decode(d *table.Decoder, path string, n *tree.Node) {
	v.Value.Decode(d, path, n)
	if *v.p == "auto" {
		*v.p = ""
	}
}

func (v orAuto[T]) Show(path string) *table.Shown {
	return table.ShowText(path, cmp.Or(string(*v.p), "auto"))
}

func nodeValue(n *spec.Node) table.Value {
	return table.ShortSection(nodeFields(n), table.ShortFor("cluster", nodeCluster(n)))
}

func nodeCluster(n *spec.Node) table.Value {
	return orAuto[spec.NodeCluster]{table.Choice(&n.Cluster, []string{"auto", "on", "off", "delegate"}, map[string]string{
		"true": "on", "yes": "on", "cluster": "on", "cluster_mode": "on",
		"false": "off", "no": "off", "fork": "off", "fork_mode": "off", "none": "off", "primary": "delegate",
	}), &n.Cluster}
}

func nodeFields(n *spec.Node) []table.Field {
	return []table.Field{
		table.Key("cluster", nodeCluster(n), "auto", "Whether muster is the primary of Node's cluster module for the workers, so that `listen()` in them shares one port. auto: for a service whose command is node and a script, also behind npm, npx, yarn, pnpm and tsx where package.json tells it. on: also for commands that muster does not know. off: a program like any other. delegate: for a program that calls `cluster.fork()` itself; muster starts its workers."),
		table.Key("drain", switchValue{&n.NoDrain}, "on", "Whether workers load muster's preload, which ends keep-alive, WebSocket and HTTP/2 connections politely when a worker stops."),
	}
}

// switchValue is on or off; its variable says off.
type switchValue struct{ off *bool }

func (v switchValue) Decode(d *table.Decoder, path string, n *tree.Node) {
	word := "on"
	v.choice(&word).Decode(d, path, n)
	*v.off = word == "off"
}

func (v switchValue) choice(word *string) table.Value {
	return table.Choice(word, []string{"on", "off"}, map[string]string{"true": "on", "yes": "on", "false": "off", "no": "off"})
}

func (v switchValue) Show(path string) *table.Shown {
	if !*v.off {
		return nil
	}
	return table.ShowText(path, "off")
}

func (v switchValue) Schema() table.Schema { return v.choice(new(string)).Schema() }
func (v switchValue) Kind() string         { return "on, off" }
