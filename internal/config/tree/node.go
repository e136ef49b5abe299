package tree

// Place is a position in the file, from 1; the zero place is none.
type Place struct{ Line, Column int }

// Shape is the form of a value.
type Shape int

// The shapes of a value.
const (
	Scalar Shape = iota
	List
	Object
)

// String is the shape in words: "a list".
func (s Shape) String() string { return [...]string{"a single value", "a list", "a map"}[s] }

// Node is a value of the file with aliases, merges and ${VAR} resolved, so that
// decoding sees plain data.
type Node struct {
	Shape Shape
	Text  string // of a scalar, with variables replaced
	Null  bool   // a scalar that is nothing, ~ or null
	At    Place
	// From says which variables went into the text: "${PORT} from .env".
	From  string
	Items []*Node // of a list
	Pairs []Pair  // of an object, in the order of the file
}

// Pair is one entry of a map. Value is never nil.
type Pair struct {
	Key   string
	At    Place // of the key
	Value *Node
}

// Get returns the value of a key, nil when it is not there, also for a nil node.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for _, p := range n.Pairs {
		if p.Key == key {
			return p.Value
		}
	}
	return nil
}

// IsEmpty says that a key was written without a value.
func (n *Node) IsEmpty() bool { return n.Shape == Scalar && n.Null }
