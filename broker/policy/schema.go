package policy

import _ "embed" // for schema.json

//go:embed schema.json
var schema string

// Schema returns a JSON Schema, draft 2020-12, of policy files, for editors
// that check and complete what is typed. It knows every key and the form of
// every value, but not what they mean together: Parse refuses more.
func Schema() []byte { return []byte(schema) }
