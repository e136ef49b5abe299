package spec

// Diff lists what leads from one spec to another, sorted by app and field.
func Diff(old, new Spec) []Change { return nil }

// DiffApp lists what leads from one version of an app to another, sorted by field.
func DiffApp(old, new App) []Change { return nil }
