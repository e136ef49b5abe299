package house

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pictureRule: the picture of the house names every room below internal, in code
// letters or in a table.
func pictureRule(picture string) func(tree) []string {
	words := strings.FieldsFunc(picture, func(c rune) bool { return strings.ContainsRune("`|/ \n", c) })
	return func(t tree) []string {
		var bad []string
		for dir := range t.dirs() {
			if strings.HasPrefix(dir, "internal/") && !slices.Contains(words, path.Base(dir)) {
				bad = append(bad, "docs/ARCHITECTURE.md does not name "+dir)
			}
		}
		return bad
	}
}

func TestPicture(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	report(t, pictureRule(string(text))(wholeTree(t)))
}
