package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxPolicySource is how many bytes of an IAM policy file are read: AWS takes
// 10,240 characters of it at most, once white space is gone.
const maxPolicySource = 64 << 10

// readJSON reads an IAM policy file: one JSON value. It returns nil when
// the file cannot be read at all; what is wrong goes to ps.
func readJSON(src *source, raw []byte, ps *problems) *node {
	b := &jsonBuilder{builder: builder{src, ps}, raw: raw, dec: json.NewDecoder(bytes.NewReader(raw))}
	b.dec.UseNumber()
	switch {
	case len(raw) > maxPolicySource:
		ps.add(position{src, 1, 1}, hint("shorten it: AWS takes 10,240 characters at most"), "the file is longer than 64 KiB")
		return nil
	case !utf8.Valid(raw):
		ps.add(position{src, 1, 1}, hint("save it as UTF-8"), "the file is not valid UTF-8")
		return nil
	}
	n, err := b.value(0)
	if err == nil {
		at := b.next()
		if _, more := b.dec.Token(); more != io.EOF {
			ps.add(at, hint("end the file before it"), "something follows the JSON value")
			return nil
		}
		return n
	}
	at := b.next()
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		at = b.place(int(syntax.Offset) - 1)
	}
	switch {
	case errors.Is(err, errNested):
		ps.add(at, hint("take levels out"), "%v", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		ps.add(b.place(len(raw)), hint("close every quote, brace and bracket"), "not JSON: it ends too early")
	default:
		ps.add(at, hint("look for a comma, quote or bracket too many, or one missing"), "not JSON: %s", printable(err.Error()))
	}
	return nil
}

type jsonBuilder struct {
	builder
	raw []byte
	dec *json.Decoder
}

var errNested = fmt.Errorf("nested deeper than %d levels", maxNesting)

// value reads the next value.
func (b *jsonBuilder) value(depth int) (*node, error) {
	n := &node{at: b.next()}
	if depth > maxNesting {
		return nil, errNested
	}
	tk, err := b.dec.Token()
	if err != nil {
		return nil, err
	}
	switch tk := tk.(type) {
	case json.Delim:
		if tk == '[' {
			return n, b.list(n, depth)
		}
		return n, b.mapping(n, depth)
	case string:
		n.kind, n.text, n.quoted = isText, tk, true
		b.checkText(n.at, tk)
	case json.Number:
		n.kind, n.text = isNumber, tk.String()
	case bool:
		n.kind, n.text = isBool, "false"
		if tk {
			n.text = "true"
		}
	}
	return n, nil
}

func (b *jsonBuilder) list(n *node, depth int) error {
	n.kind = isList
	for b.dec.More() {
		item, err := b.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := b.dec.Token()
	return err
}

func (b *jsonBuilder) mapping(n *node, depth int) error {
	n.kind = isMapping
	keys := map[string]bool{}
	for b.dec.More() {
		at := b.next()
		key, err := b.dec.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string) // the decoder lets nothing else be a key
		b.checkText(at, name)
		value, err := b.value(depth + 1)
		if err != nil {
			return err
		}
		b.put(n, keys, entry{name, at, value})
	}
	_, err := b.dec.Token()
	return err
}

// next returns where the next token starts.
func (b *jsonBuilder) next() position {
	offset := int(b.dec.InputOffset())
	for offset < len(b.raw) && strings.IndexByte(" \t\r\n,:", b.raw[offset]) >= 0 {
		offset++
	}
	return b.place(offset)
}

// place turns an offset in bytes into a position.
func (b *jsonBuilder) place(offset int) position {
	before := b.raw[:min(max(offset, 0), len(b.raw))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return position{b.src, 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])}
}

// minify writes n as JSON without white space, keys in alphabetical order: in
// whatever order they are written, it comes out the same.
func (n *node) minify() string {
	var s strings.Builder
	n.write(&s)
	return s.String()
}

func (n *node) write(s *strings.Builder) {
	switch n.kind {
	case isNull:
		s.WriteString("null")
	case isBool, isNumber:
		s.WriteString(n.text)
	case isText:
		writeText(s, n.text)
	case isList:
		s.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				s.WriteByte(',')
			}
			item.write(s)
		}
		s.WriteByte(']')
	case isMapping:
		s.WriteByte('{')
		for i, e := range slices.SortedFunc(slices.Values(n.entries), byKey) {
			if i > 0 {
				s.WriteByte(',')
			}
			writeText(s, e.key)
			s.WriteByte(':')
			e.value.write(s)
		}
		s.WriteByte('}')
	}
}

func byKey(a, b entry) int { return strings.Compare(a.key, b.key) }

// writeText writes a JSON string. It escapes the two characters that need it:
// control characters were refused.
func writeText(s *strings.Builder, text string) {
	s.WriteByte('"')
	_, _ = textEscapes.WriteString(s, text)
	s.WriteByte('"')
}

var textEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
