package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on a file. The YAML library takes time that grows with the square of
// a mapping's keys and memory that grows with the length of the keys on the
// way to each value; these keep both within seconds and megabytes.
const (
	maxSource    = 1 << 20 // bytes of a file
	maxKeys      = 50_000  // mapping keys in a file
	maxKeyLength = 256     // bytes of a key
)

// readYAML reads a whole policy file: one document of plain YAML. It returns
// nil when the file cannot be read at all; what is wrong goes to ps.
func readYAML(src *source, raw []byte, ps *problems) *node {
	if !checkSource(src, raw, ps) {
		return nil
	}
	b := &yamlBuilder{builder{src, ps}}
	// The library is given everything that a file may hold, so a panic in it
	// is a file that cannot be read, not an end to the program.
	defer func() {
		if r := recover(); r != nil {
			ps.add(position{src, 1, 1}, nil, "the YAML cannot be read: the reader failed with %s", quote(fmt.Sprint(r)))
		}
	}()
	return b.read(string(raw))
}

// yamlTokens and yamlFile are the YAML library: variables, so that a test can
// make it panic.
var (
	yamlTokens = lexer.Tokenize
	yamlFile   = yamlparser.Parse
)

type yamlBuilder struct{ builder }

func (b *yamlBuilder) read(raw string) *node {
	tokens := yamlTokens(raw)
	if !b.allowed(tokens) {
		return nil
	}
	file, err := yamlFile(tokens, 0, yamlparser.AllowDuplicateMapKey())
	if err != nil {
		at, message := position{b.src, 1, 1}, err.Error()
		if detail := yaml.Error(nil); errors.As(err, &detail) {
			at, message = b.place(detail.GetToken()), detail.GetMessage()
		}
		b.problems.add(at, nil, "not YAML: %s", printable(message))
		return nil
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		b.problems.add(position{b.src, 1, 1}, nil, "the file is empty")
		return nil
	}
	return b.node(file.Docs[0].Body, 0)
}

// checkSource reports a file that is too long, or that may not read as it is
// shown. Tabs are refused because no two programs agree on their width.
func checkSource(src *source, raw []byte, ps *problems) bool {
	if len(raw) > maxSource {
		ps.add(position{src, 1, 1}, nil, "the file is longer than 1 MiB")
		return false
	}
	before := len(ps.found)
	for i, line := range src.lines {
		column := 0
		for _, r := range line {
			column++
			switch at := (position{src, i + 1, column}); {
			case r == utf8.RuneError && !utf8.ValidString(line):
				ps.add(at, nil, "the line is not valid UTF-8")
			case r == '\t':
				ps.add(at, hint("use spaces"), "a tab")
			case unsafeRune(r), r == '\uFEFF':
				ps.add(at, nil, "a control character, %U", r)
			default:
				continue
			}
			break // one a line
		}
	}
	return len(ps.found) == before
}

// allowed reports what YAML knows and a policy does not: several documents,
// directives, anchors, aliases, merge keys, tags and keys that are not text.
// It works on tokens because the parser calls itself for every level: what is
// nested too deep has to be refused before.
func (b *yamlBuilder) allowed(tokens token.Tokens) bool {
	before := len(b.problems.found)
	refuse := func(tk *token.Token, format string, args ...any) {
		b.problems.add(b.place(tk), nil, format, args...)
	}
	var content, flow, dashes, keys, line int
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, dashes = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			if content > 0 || tk.Type == token.DocumentEndType {
				refuse(tk, "a policy is one YAML document")
			}
		case token.DirectiveType:
			refuse(tk, "YAML directives are not allowed")
		case token.AnchorType, token.AliasType:
			refuse(tk, "YAML anchors and aliases are not allowed")
		case token.MergeKeyType:
			refuse(tk, "YAML merge keys are not allowed")
		case token.TagType:
			refuse(tk, "YAML tags are not allowed")
		case token.MappingKeyType:
			refuse(tk, "keys marked with ? are not allowed")
		case token.SequenceEntryType:
			dashes++
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.MappingValueType:
			keys++
			if tk.Prev != nil && len(tk.Prev.Value) > maxKeyLength {
				refuse(tk.Prev, "the key is longer than %d bytes", maxKeyLength)
			}
		}
		if tk.Type != token.CommentType {
			content++
		}
		switch {
		case len(b.problems.found)-before >= maxErrors:
			return false
		case keys > maxKeys:
			refuse(tk, "the file has more than %d keys", maxKeys)
			return false
		case flow > maxNesting, dashes > maxNesting:
			refuse(tk, "nested deeper than %d levels", maxNesting)
			return false
		}
	}
	return len(b.problems.found) == before
}

// node turns a node of the library into one of ours.
func (b *yamlBuilder) node(in ast.Node, depth int) *node {
	n := &node{at: b.place(in.GetToken())}
	if depth > maxNesting {
		b.problems.add(n.at, nil, "nested deeper than %d levels", maxNesting)
		return n
	}
	switch in := in.(type) {
	case *ast.MappingNode:
		b.mapping(n, in.Values, depth)
	case *ast.MappingValueNode:
		b.mapping(n, []*ast.MappingValueNode{in}, depth)
	case *ast.SequenceNode:
		n.kind = isList
		for _, item := range in.Values {
			n.items = append(n.items, b.node(item, depth+1))
		}
	case *ast.StringNode:
		n.kind, n.text = isText, in.Value
		n.quoted = in.Token.Type == token.SingleQuoteType || in.Token.Type == token.DoubleQuoteType
		b.checkText(n.at, n.text)
	case *ast.LiteralNode:
		n.kind, n.text, n.quoted = isText, in.Value.Value, true
		b.checkText(n.at, n.text)
	case *ast.BoolNode:
		n.kind, n.text = isBool, strings.ToLower(in.Token.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = isNumber, in.GetToken().Value
	case *ast.NullNode:
		n.kind = isNull
	default:
		b.problems.add(n.at, nil, "this YAML is not allowed here")
	}
	return n
}

func (b *yamlBuilder) mapping(n *node, values []*ast.MappingValueNode, depth int) {
	n.kind = isMapping
	if len(values) > 0 {
		n.at = b.place(values[0].Key.GetToken())
	}
	keys := map[string]bool{}
	for _, value := range values {
		at := b.place(value.Key.GetToken())
		key, ok := value.Key.(*ast.StringNode)
		if !ok {
			b.problems.add(at, hint("put it in quotes"), "the key %s is not text", quote(value.Key.GetToken().Value))
			continue
		}
		b.checkText(at, key.Value)
		b.put(n, keys, entry{key.Value, at, b.node(value.Value, depth+1)})
	}
}

// place returns where a token starts. The library counts some columns from 0,
// and some errors have no token.
func (b *yamlBuilder) place(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{b.src, 1, 1}
	}
	return position{b.src, max(tk.Position.Line, 1), max(tk.Position.Column, 1)}
}
