package spec

// Action is what a Change leads to.
type Action string

// The actions, mildest last.
const (
	AddApp     Action = "add"
	RemoveApp  Action = "remove"
	ReloadApp  Action = "reload" // its workers are replaced, rolling
	ScaleApp   Action = "scale"
	UpdateApp  Action = "update" // takes effect without touching a worker
	UpdateSpec Action = "spec"   // not about one app
)

// Change is one difference between two specs.
type Change struct {
	App    string `json:"app,omitempty"`
	Action Action `json:"action"`
	// Field is the path in muster.yaml ("env.FOO"); Old and New are its values
	// with secrets masked; "" where the field is absent.
	Field string `json:"field,omitempty"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
}
