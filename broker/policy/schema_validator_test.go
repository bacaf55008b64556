package policy_test

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A validator checks values against the part of JSON Schema that our schema
// uses. A keyword that it does not know is a problem.
type validator struct {
	root     map[string]any
	problems []string
}

func (v *validator) report(path, format string, args ...any) {
	v.problems = append(v.problems, path+": "+fmt.Sprintf(format, args...))
}

// fits says whether a value is valid, without a report.
func (v *validator) fits(schema any, value any) bool {
	try := validator{root: v.root}
	try.check("", schema, value)
	return len(try.problems) == 0
}

func (v *validator) fitting(list any, value any) int {
	n := 0
	for _, schema := range list.([]any) {
		if v.fits(schema, value) {
			n++
		}
	}
	return n
}

func (v *validator) check(path string, schema any, value any) {
	keywords, ok := schema.(map[string]any)
	if !ok {
		if schema != true {
			v.report(path, "not allowed")
		}
		return
	}
	for _, keyword := range slices.Sorted(maps.Keys(keywords)) {
		v.keyword(path, keywords, keyword, value)
	}
}

func (v *validator) keyword(path string, schema map[string]any, keyword string, value any) {
	arg := schema[keyword]
	object, _ := value.(map[string]any)
	list, _ := value.([]any)
	text, isText := value.(string)
	number, isNumber := value.(float64)
	limit, _ := arg.(float64)
	switch keyword {
	case "$schema", "$defs", "title", "description":
	case "default":
		if !v.fits(map[string]any{"anyOf": []any{allBut(schema, "default")}}, arg) {
			v.report(path, "the default %v is not valid", arg)
		}
	case "$ref":
		target := any(v.root)
		for _, step := range strings.Split(arg.(string), "/")[1:] {
			target = target.(map[string]any)[step]
		}
		v.check(path, target, value)
	case "type":
		names, ok := arg.([]any)
		if !ok {
			names = []any{arg}
		}
		if !slices.ContainsFunc(names, func(name any) bool { return isType(name, value) }) {
			v.report(path, "%v is not %v", value, arg)
		}
	case "const":
		if !reflect.DeepEqual(arg, value) {
			v.report(path, "%v is not %v", value, arg)
		}
	case "enum":
		if !slices.Contains(arg.([]any), value) {
			v.report(path, "%v is none of %v", value, arg)
		}
	case "required":
		for _, key := range arg.([]any) {
			if _, ok := object[key.(string)]; !ok && object != nil {
				v.report(path, "no %v", key)
			}
		}
	case "properties":
		for key, s := range arg.(map[string]any) {
			if member, ok := object[key]; ok {
				v.check(path+"/"+key, s, member)
			}
		}
	case "additionalProperties":
		known, _ := schema["properties"].(map[string]any)
		for key, member := range object {
			if _, ok := known[key]; !ok {
				v.check(path+"/"+key, arg, member)
			}
		}
	case "propertyNames":
		for key := range object {
			v.check(path+"/"+key, arg, key)
		}
	case "items":
		for i, item := range list {
			v.check(fmt.Sprint(path, "/", i), arg, item)
		}
	case "uniqueItems":
		for i, item := range list {
			if slices.ContainsFunc(list[:i], func(other any) bool { return reflect.DeepEqual(other, item) }) {
				v.report(path, "%v is there twice", item)
			}
		}
	case "pattern":
		if isText && !regexp.MustCompile(arg.(string)).MatchString(text) {
			v.report(path, "%q does not match %v", text, arg)
		}
	case "anyOf":
		if v.fitting(arg, value) == 0 {
			v.report(path, "%v fits none", value)
		}
	case "oneOf":
		if n := v.fitting(arg, value); n != 1 {
			v.report(path, "%v fits %d, not one", value, n)
		}
	case "allOf":
		if v.fitting(arg, value) < len(arg.([]any)) {
			v.report(path, "%v does not fit all", value)
		}
	case "not":
		if v.fits(arg, value) {
			v.report(path, "%v is not allowed", value)
		}
	case "minimum":
		v.bound(path, isNumber && number < limit, value)
	case "maximum":
		v.bound(path, isNumber && number > limit, value)
	case "minLength":
		v.bound(path, isText && utf8.RuneCountInString(text) < int(limit), value)
	case "maxLength":
		v.bound(path, isText && utf8.RuneCountInString(text) > int(limit), value)
	case "minItems":
		v.bound(path, list != nil && len(list) < int(limit), value)
	case "maxItems":
		v.bound(path, len(list) > int(limit), value)
	case "minProperties":
		v.bound(path, object != nil && len(object) < int(limit), value)
	case "maxProperties":
		v.bound(path, len(object) > int(limit), value)
	default:
		v.report(path, "the keyword %s is not known", keyword)
	}
}

func (v *validator) bound(path string, broken bool, value any) {
	if broken {
		v.report(path, "%v is out of bounds", value)
	}
}

// allBut returns a schema less one keyword.
func allBut(schema map[string]any, keyword string) map[string]any {
	rest := maps.Clone(schema)
	delete(rest, keyword)
	return rest
}

func isType(name, value any) bool {
	switch value := value.(type) {
	case map[string]any:
		return name == "object"
	case []any:
		return name == "array"
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case float64:
		return name == "number" || name == "integer" && value == math.Trunc(value)
	default:
		return name == "null"
	}
}
