//go:build nosqlite

package store

import "context"

// openFile refuses every file: this program was built without SQLite, as the
// functions on AWS Lambda are. It takes half a millisecond of their start.
func openFile(_ context.Context, path string, _ Options) (Store, error) {
	return nil, invalid("file", path, "this Starback was built without SQLite")
}
