package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on a file. They hold 100,000 users and 10,000 roles with session
// policies in place, which take 7 s and 1.2 GB on one core. Whatever is in a
// file, reading it takes half a minute and 2.5 GB at most: the YAML library makes
// a token or two of each mark, takes memory that grows with the length of the
// keys on the way to each value, and time that grows with the square of a
// mapping's keys. The file and its sections are read entry by entry, so maxKeys
// does not bound those, and maxTokens bounds each entry.
const (
	maxSource    = 32 << 20 // bytes of a file
	maxMarks     = 4 << 20  // lines, and characters that YAML gives a meaning, in a file
	maxTokens    = 3 << 20  // tokens that the library parses at once
	maxKeys      = 1000     // keys of one block mapping
	maxKeyLength = 256      // bytes of a key
)

// marks are the characters that begin or end a token.
const marks = "[]{},:-?&*!|>'\"%#"

// readYAML reads a whole policy file: one document of plain YAML. It returns
// nil when the file cannot be read at all; what is wrong goes to ps.
func readYAML(src *source, raw []byte, ps *problems) *node {
	if !checkSource(src, raw, ps) {
		return nil
	}
	b := &yamlBuilder{builder: builder{src, ps}}
	// The library is given everything that a file may hold, so a panic in it
	// is a file that cannot be read, not an end to the program.
	defer func() {
		if r := recover(); r != nil {
			ps.add(position{src, 1, 1}, hint("take parts out until it can"), "the YAML cannot be read: the reader failed with %s", quote(fmt.Sprint(r)))
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

type yamlBuilder struct {
	builder
	broken bool // some of the file is not YAML
}

func (b *yamlBuilder) read(raw string) *node {
	tokens := yamlTokens(raw)
	if !b.allowed(tokens) {
		return nil
	}
	if tk := tokens.InvalidToken(); tk != nil {
		b.problems.add(b.place(tk), hint("look at quotes and indentation, here and above"), "not YAML: %s", printable(tk.Error))
		return nil
	}
	tokens = content(tokens)
	if len(tokens) == 0 {
		b.problems.add(position{b.src, 1, 1}, hint("begin with version: 1"), "the file is empty")
		return nil
	}
	n := b.block(tokens, 0)
	if b.broken {
		return nil
	}
	return n
}

// content returns the tokens that say something.
func content(tokens token.Tokens) token.Tokens {
	return slices.DeleteFunc(tokens, func(tk *token.Token) bool {
		return tk.Type == token.CommentType || tk.Type == token.DocumentHeaderType
	})
}

// block reads what is at depth. The file and its sections are block mappings
// of any number of keys, so each of their entries is parsed alone.
func (b *yamlBuilder) block(tokens token.Tokens, depth int) *node {
	entries := cut(tokens)
	if entries == nil {
		return b.parse(tokens, depth)
	}
	n := &node{kind: isMapping, at: b.place(tokens[0])}
	keys := map[string]bool{}
	for _, tokens := range entries {
		key, value := tokens[0], tokens[2:]
		if depth == 0 && cut(value) != nil && below(key, value[0]) {
			at := b.place(key)
			b.checkText(at, key.Value)
			b.put(n, keys, entry{key.Value, at, b.block(value, depth+1)})
			continue
		}
		for _, e := range b.parse(tokens, depth).entries {
			b.put(n, keys, e)
		}
	}
	return n
}

// cut cuts a block mapping's tokens before each key, or returns nil if they
// are something else. Whatever is in an entry is further to the right than its
// key, unless it is not YAML at all: then the library finds it in that entry.
func cut(tokens token.Tokens) []token.Tokens {
	if len(tokens) == 0 {
		return nil
	}
	var entries []token.Tokens
	start, flow := 0, 0
	for i, tk := range tokens {
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		}
		switch {
		case flow > 0 || !isKey(tokens, i) || tk.Position.Column != tokens[0].Position.Column:
			if i == 0 {
				return nil
			}
		case i > 0:
			entries = append(entries, tokens[start:i])
			start = i
		}
	}
	return append(entries, tokens[start:])
}

// below says whether b starts on a later line than a and further to the right.
func below(a, b *token.Token) bool {
	return b.Position.Line > a.Position.Line && b.Position.Column > a.Position.Column
}

// isKey says whether the token at i is a key that is text.
func isKey(tokens token.Tokens, i int) bool {
	text := tokens[i].Type == token.StringType || quoted(tokens[i])
	return text && i+1 < len(tokens) && tokens[i+1].Type == token.MappingValueType
}

func quoted(tk *token.Token) bool {
	return tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType
}

// parse has the library read what is at depth.
func (b *yamlBuilder) parse(tokens token.Tokens, depth int) *node {
	if len(tokens) > maxTokens {
		b.broken = true
		b.problems.add(b.place(tokens[0]), hint("begin each entry of a section on a line of its own"),
			"more than %d parts are in one entry", maxTokens)
		return &node{}
	}
	if tk := crowded(tokens); tk != nil {
		b.broken = true
		b.problems.add(b.place(tk), hint("take some out"), "the mapping has more than %d keys", maxKeys)
		return &node{}
	}
	file, err := yamlFile(tokens, 0, yamlparser.AllowDuplicateMapKey())
	if err != nil {
		b.broken = true
		at, message := b.place(tokens[0]), err.Error()
		if detail := yaml.Error(nil); errors.As(err, &detail) {
			at, message = b.place(detail.GetToken()), detail.GetMessage()
		}
		b.problems.add(at, b.unclosed(tokens, at), "not YAML: %s", printable(message))
		return &node{}
	}
	return b.node(file.Docs[0].Body, depth)
}

// unclosed suggests what may be wrong where the library reads no further: above
// all, a brace or bracket that is open there.
func (b *yamlBuilder) unclosed(tokens token.Tokens, at position) suggestion {
	return suggestion{func() string {
		var open token.Tokens
		for _, tk := range tokens {
			if p := b.place(tk); p.line > at.line || p.line == at.line && p.column >= at.column {
				break
			}
			switch tk.Type {
			case token.SequenceStartType, token.MappingStartType:
				open = append(open, tk)
			case token.SequenceEndType, token.MappingEndType:
				open = open[:max(len(open)-1, 0)]
			}
		}
		if len(open) == 0 {
			return "look at quotes and indentation, here and above"
		}
		last := open[len(open)-1]
		return fmt.Sprintf("close the %s of line %d, or look at the commas in it", quote(last.Value), last.Position.Line)
	}}
}

// crowded returns the key that is one too many in a block mapping, or nil.
func crowded(tokens token.Tokens) *token.Token {
	type mapping struct{ column, keys int }
	var open []mapping // from the outermost to the innermost
	flow := 0
	for i, tk := range tokens {
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		}
		isKey := i+1 < len(tokens) && tokens[i+1].Type == token.MappingValueType
		if flow > 0 || !isKey && tk.Type != token.SequenceEntryType {
			continue
		}
		column := tk.Position.Column
		for len(open) > 0 && open[len(open)-1].column > column {
			open = open[:len(open)-1]
		}
		if !isKey {
			continue
		}
		if len(open) == 0 || open[len(open)-1].column < column {
			open = append(open, mapping{column: column})
		}
		last := &open[len(open)-1]
		if last.keys++; last.keys > maxKeys {
			return tk
		}
	}
	return nil
}

// checkSource reports a file that is too long, or that may not read as it is
// shown. Tabs are refused because no two programs agree on their width.
func checkSource(src *source, raw []byte, ps *problems) bool {
	if len(raw) > maxSource {
		ps.add(position{src, 1, 1}, hint("move IAM policies into files of their own"), "the file is longer than %d MiB", maxSource>>20)
		return false
	}
	before, marked := len(ps.found), len(src.lines)
	for i, line := range src.lines {
		column := 0
		for _, r := range line {
			column++
			if strings.ContainsRune(marks, r) {
				marked++
			}
			switch at := (position{src, i + 1, column}); {
			case r == utf8.RuneError && !utf8.ValidString(line):
				ps.add(at, hint("save the file as UTF-8"), "the line is not valid UTF-8")
			case r == '\t':
				ps.add(at, hint("use spaces"), "a tab")
			case unsafeRune(r), r == '\uFEFF':
				ps.add(at, hint("take it out"), "a control character, %U", r)
			default:
				continue
			}
			break // one a line
		}
	}
	if marked > maxMarks {
		ps.add(position{src, 1, 1}, hint("move IAM policies into files of their own"), "the file has more than %d lines and characters of %s", maxMarks, marks)
	}
	return len(ps.found) == before
}

// allowed reports what YAML knows and a policy does not: several documents,
// directives, anchors, aliases, merge keys, tags and keys that are not text.
// It works on tokens because the parser calls itself for every level: what is
// nested too deep has to be refused before.
func (b *yamlBuilder) allowed(tokens token.Tokens) bool {
	before := len(b.problems.found)
	refuse := func(tk *token.Token, suggest suggestion, format string, args ...any) {
		b.problems.add(b.place(tk), suggest, format, args...)
	}
	var content, flow, dashes, line int
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, dashes = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			if content > 0 || tk.Type == token.DocumentEndType {
				refuse(tk, hint("take the line out"), "a policy is one YAML document")
			}
		case token.DirectiveType:
			refuse(tk, hint("take the line out"), "YAML directives are not allowed")
		case token.AnchorType, token.AliasType:
			refuse(tk, hint("write it out in full"), "YAML anchors and aliases are not allowed")
		case token.MergeKeyType:
			refuse(tk, hint("write the keys out in full"), "YAML merge keys are not allowed")
		case token.TagType:
			refuse(tk, hint("take it out; text can be in quotes"), "YAML tags are not allowed")
		case token.MappingKeyType:
			refuse(tk, hint("write key: value"), "keys marked with ? are not allowed")
		case token.SequenceEntryType:
			dashes++
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.MappingValueType:
			if tk.Prev != nil && len(tk.Prev.Value) > maxKeyLength {
				refuse(tk.Prev, hint("shorten it"), "the key is longer than %d bytes", maxKeyLength)
			} else if glued(tk) {
				b.problems.add(b.place(tk.Prev), hint("put it in quotes, or write a space after the colon"),
					"between braces, %s is read as a key and a value", quote(tk.Prev.Value+":"+tk.Next.Value))
			}
		}
		if tk.Type != token.CommentType {
			content++
		}
		switch {
		case len(b.problems.found)-before >= maxErrors:
			return false
		case flow > maxNesting, dashes > maxNesting:
			refuse(tk, hint("take levels out"), "nested deeper than %d levels", maxNesting)
			return false
		}
	}
	return len(b.problems.found) == before
}

// glued says whether a colon stands in a word, as in {aws:username: x}. Between
// braces YAML takes the whole word for the key, and the library only "aws".
func glued(colon *token.Token) bool {
	key, value := colon.Prev, colon.Next
	if key == nil || value == nil || key.Type != token.StringType || value.Position.Line != colon.Position.Line {
		return false
	}
	switch value.Type {
	case token.CollectEntryType, token.MappingStartType, token.MappingEndType, token.SequenceStartType, token.SequenceEndType:
		return false
	default:
		return value.Position.Column == colon.Position.Column+1
	}
}

// node turns a node of the library into one of ours.
func (b *yamlBuilder) node(in ast.Node, depth int) *node {
	n := &node{at: b.place(in.GetToken())}
	if depth > maxNesting {
		b.problems.add(n.at, hint("take levels out"), "nested deeper than %d levels", maxNesting)
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
		n.quoted = quoted(in.Token)
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
		panic(fmt.Sprintf("a node of the type %T", in)) // allowed and the library let nothing else through
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
