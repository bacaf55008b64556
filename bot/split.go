package bot

import (
	"errors"
	"strings"
	"unicode"
)

// errUnclosed says that a quotation goes on to the end of the text.
var errUnclosed = errors.New("a quotation is not closed")

// splitWords splits what somebody typed into words. Quotes keep words together,
// as in a shell, but for what people and their keyboards do to a chat message:
// a quotation begins at the start of a word or after "=", in any of the quotes
// that ' and " are turned into, and ends with one of its kind that is followed
// by space or by nothing. So an apostrophe is no quote, and there is no
// backslash to know about. A dash that "--" was turned into becomes that again,
// at the start of a word that is not quoted.
func splitWords(text string) ([]string, error) {
	var words []string
	for rest := []rune(text); len(rest) > 0; {
		if unicode.IsSpace(rest[0]) {
			rest = rest[1:]
			continue
		}
		word, after, err := cutWord(rest)
		if err != nil {
			return nil, err
		}
		words, rest = append(words, word), after
	}
	return words, nil
}

// cutWord takes the first word off text, which does not start with space.
func cutWord(text []rune) (word string, rest []rune, err error) {
	var b strings.Builder
	for i, r := range text {
		switch kind := quoteKind(r); {
		case unicode.IsSpace(r):
			return b.String(), text[i:], nil
		case kind != 0 && (i == 0 || text[i-1] == '='):
			end := quotationEnd(text[i+1:], kind)
			if end < 0 {
				return "", nil, errUnclosed
			}
			b.WriteString(string(text[i+1 : i+1+end]))
			return b.String(), text[i+2+end:], nil
		case i == 0 && strings.ContainsRune("—–―", r):
			b.WriteString("--")
		default:
			b.WriteRune(r)
		}
	}
	return b.String(), nil, nil
}

// quoteKind returns ' or " for each of the quotes that stand for it, and 0 for
// everything else.
func quoteKind(r rune) rune {
	switch {
	case strings.ContainsRune("'‘’‚‛", r):
		return '\''
	case strings.ContainsRune(`"“”„‟«»`, r):
		return '"'
	default:
		return 0
	}
}

// quotationEnd returns where the quote is that ends a quotation of a kind; -1
// if there is none.
func quotationEnd(text []rune, kind rune) int {
	for i, r := range text {
		if quoteKind(r) == kind && (i+1 == len(text) || unicode.IsSpace(text[i+1])) {
			return i
		}
	}
	return -1
}
