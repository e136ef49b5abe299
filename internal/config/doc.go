// Package config turns muster.yaml, `.env`, the environment and the flags of
// `muster run` into a spec.Spec.
package config
