package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// plainJSON is JSON that everybody reads alike: whatever stands between may look
// at an ask too, and must not see another role in it.
var plainJSON = huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}

var errAmbiguous = errors.New("not UTF-8, or an object with the same member twice")

func unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) || repeats(data) {
		return errAmbiguous
	}
	return json.Unmarshal(data, v)
}

// repeats says whether data is an object that has a member twice, of which one
// reader takes the first and another the last. There are no objects within.
func repeats(data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return false
	}
	for seen := map[json.Token]bool{}; d.More(); {
		name, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return false // it is no JSON either
		}
		if seen[name] {
			return true
		}
		seen[name] = true
	}
	return false
}
