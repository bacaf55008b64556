package policy

import (
	"regexp"
	"sync"
)

// expression returns what compiles a regular expression when it is first
// called. Compiled with the program, all of the package's would make every
// start half a millisecond longer, and few starts need them all.
func expression(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}
