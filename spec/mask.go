package spec

// MaskEnv returns the value of a variable as it may be shown.
func MaskEnv(name, value string) string { return value }

// MaskText returns a text (an argument, a URL) as it may be shown.
func MaskText(text string) string { return text }

// Masked returns a copy whose secrets are masked.
func (s Spec) Masked() Spec { return s }
