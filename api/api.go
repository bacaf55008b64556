// Package api is Starback's HTTP interface for applications: they ask with a
// bearer token of their own, and are answered in JSON.
//
// It promises that nobody is answered without a token in the Authorization
// header, that a secret goes to the bearer who asked and to nowhere else, that an
// answer which did not reach its caller is recorded as such, and that an error is
// told in words of its own. It decides nothing: broker does.
package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/starback/starback/broker"
)

// Prefix is where the interface is mounted.
const Prefix = "/v1/"

// MaxBody bounds a request's body, in bytes: an ask has four short fields.
const MaxBody = 16 << 10

// Patience is how long an ask may take. Amazon's API Gateway ends a call at 30 s,
// and whoever asked must have been answered by then.
const Patience = 25 * time.Second

// Config is what the interface works with. All of it is required.
type Config struct {
	Broker  *broker.Broker
	Version string // of Starback
	Now     func() time.Time
	Entropy io.Reader // random bytes; safe for concurrent use
	Log     *slog.Logger
}

// A server answers the requests of applications.
type server struct {
	Config
	mux *http.ServeMux
}

// These settings are huma's own, for all of a program: an error is a problem of
// ours, the name of a field is written as it is here, and a list is never null.
func init() {
	huma.NewError = malformed
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
}

// New returns the interface, to be mounted at Prefix. It panics if its own
// description of the operations makes no sense.
func New(c Config) http.Handler {
	s := &server{Config: c, mux: http.NewServeMux()}
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			Info: &huma.Info{
				Title: "Starback", Version: c.Version,
				Description: "Short-term AWS credentials for applications. An answer that refuses is a problem (RFC 9457), with a stable code.",
			},
			Components: &huma.Components{
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "A token that `starback token create` has printed."},
				},
			},
			Security: []map[string][]string{{"token": {}}},
		},
		Formats:       map[string]huma.Format{"application/json": plainJSON, "json": plainJSON},
		DefaultFormat: "application/json",
	}
	config.AllowAdditionalPropertiesByDefault = true // of an answer, which may come to say more
	described := humago.New(operations{s.mux, s}, config)
	s.register(described)
	description, err := json.Marshal(described.OpenAPI())
	if err != nil {
		panic(err)
	}
	s.mux.HandleFunc("GET "+Prefix+"openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(description)
	})
	s.mux.HandleFunc(Prefix, s.elsewhere)
	return s
}

// ServeHTTP implements http.Handler. Nothing that is answered here may be kept.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.mux.ServeHTTP(w, r)
}

// elsewhere answers what is no operation: another method of a path, or a path
// that is not there.
func (s *server) elsewhere(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		try := r.Clone(r.Context())
		try.Method = method
		if _, pattern := s.mux.Handler(try); pattern != Prefix {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		newProblem(codeNotFound, "There is nothing at this address. /v1/openapi.json says what there is.").write(w)
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	newProblem(codeMethod, "This address takes "+strings.Join(allowed, " or ")+" alone.").write(w)
}

// operations is the mux as huma sees it: whatever it puts there is called with
// the token of whoever calls.
type operations struct {
	*http.ServeMux
	server *server
}

// HandleFunc implements humago.Mux.
func (o operations) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	o.ServeMux.HandleFunc(pattern, o.server.operation(handler))
}
