package spec

import "strings"

// maxWord: what is longer was not mistyped.
const maxWord = 64

// Nearest returns the word of known that was most likely meant by a mistyped
// one, for "did you mean"; "" when none is near.
func Nearest(word string, known []string) string {
	if len(word) > maxWord {
		return ""
	}
	word = strings.ToLower(word)
	best, bestAt := "", max(1, len(word)/3)+1
	for _, k := range known {
		if k == "" || len(k) > maxWord {
			continue
		}
		if d := distance(word, strings.ToLower(k)); d < bestAt && d < max(len(word), len(k)) {
			best, bestAt = k, d
		}
	}
	return best
}

// didYouMean is the fix for an unknown word, "" when nothing is near.
func didYouMean(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return `did you mean "` + near + `"?`
	}
	return ""
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours between two words.
func distance(a, b string) int {
	before, last := []int{}, make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
