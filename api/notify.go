package api

// NotifyTest is the body of POST /v1/notify-test.
type NotifyTest struct {
	// Name of the notifier; "": all.
	Name string `json:"name,omitempty"`
}
