package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A role that is not granted is never told from one that there is not: not by the
// answer to the ask, nor by what is said of its request later.
func TestRolesAreNotProbed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	told := map[string]string{}
	for _, role := range []string{"secluded", "nonsense"} {
		ask := func() reply {
			return w.call(http.MethodPost, credentials, `{"role": "`+role+`"}`, "Idempotency-Key", role)
		}
		first := ask()
		at := "/v1/requests/" + first.word("request_id")
		all := first.text + ask().text + w.call(http.MethodGet, at, "").text + w.call(http.MethodPost, at+"/credentials", "").text
		told[role] = strings.NewReplacer(role, "ROLE", first.word("request_id"), "ID").Replace(all)
	}
	if diff := cmp.Diff(told["secluded"], told["nonsense"]); diff != "" {
		t.Errorf("they are told apart:\n%s", diff)
	}
}
