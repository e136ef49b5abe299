package tree

import (
	"testing"

	"pgregory.net/rapid"
)

func TestExpand(t *testing.T) {
	v := &Variables{Environ: map[string]string{"A": "env", "EMPTY": "", "IN": "${A}"}, DotEnv: map[string]string{"A": "dot", "B": "dot"}}
	for text, want := range map[string]string{
		"": "", "plain": "plain", "${A}": "env", "x${A}y${B}z": "xenvydotz", "${EMPTY}": "", "${EMPTY:-d}": "d", "${N:-d}": "d", "${N:-}": "",
		"${N:-a:-b}": "a:-b", "$$": "$", "$${A}": "${A}", "$$$${A}": "$${A}", "$A": "$A", "a$": "a$", "$(x)": "$(x)", "${IN}": "${A}", "${N:-$A}": "$A",
		"${N:-{{port:x}}}": "{{port:x}}",
	} {
		if got, _, bad := v.expand(text); bad != nil || got != want {
			t.Errorf("%q gives %q, want %q (%v)", text, got, want, bad)
		}
	}
	for text, from := range map[string]string{"${A}${B}": "${A} from environment, ${B} from .env", "${N:-x}": "${N} by default", "$$": ""} {
		if _, got, _ := v.expand(text); got != from {
			t.Errorf("%q is from %q, want %q", text, got, from)
		}
	}
	for _, text := range []string{"${", "${}", "${A", "${1}", "${A-B}", "${A:+B}", "${A B}", "${N}"} {
		if got, _, bad := v.expand(text); bad == nil || bad.text == "" || bad.fix == "" {
			t.Errorf("%q gives %q", text, got)
		}
	}
}

func TestEscape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("${}A:-x"))).Draw(t, "text")
		got, _, bad := (&Variables{}).expand(Escape(text))
		if bad != nil || got != text {
			t.Fatalf("%q is written %q, which is %q (%v)", text, Escape(text), got, bad)
		}
	})
}
