package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// register describes the operations to huma, which reads, checks and writes what
// goes in and out.
func (s *server) register(a huma.API) {
	schemas := a.OpenAPI().Components.Schemas
	answers := func() map[string]*huma.Response {
		return map[string]*huma.Response{
			"202": {Description: "Somebody must approve it first: ask at Location how it stands", Content: map[string]*huma.MediaType{
				"application/json": {Schema: schemas.Schema(typeOf[waiting](), true, "")},
			}},
			"default": problems(schemas),
		}
	}
	huma.Register(a, huma.Operation{
		OperationID: "ask", Method: http.MethodPost, Path: Prefix + "credentials", MaxBodyBytes: MaxBody + 1, Responses: answers(),
		Summary:     "Ask for credentials",
		Description: "One Idempotency-Key gives credentials once, however often it is sent. Without one, each call is another ask.",
	}, s.ask)
	huma.Register(a, huma.Operation{
		OperationID: "askAgain", Method: http.MethodPost, Path: Prefix + "requests/{id}/credentials", Responses: answers(),
		Summary:     "Ask for more of a request",
		Description: "Gives what was approved, which opens its window, or more credentials while the window is open.",
	}, s.askAgain)
	huma.Register(a, huma.Operation{
		OperationID: "request", Method: http.MethodGet, Path: Prefix + "requests/{id}", Summary: "How a request stands",
		Responses: map[string]*huma.Response{"default": problems(schemas)},
	}, s.request)
	huma.Register(a, huma.Operation{
		OperationID: "roles", Method: http.MethodGet, Path: Prefix + "roles", Summary: "The roles that the token may ask for",
		Responses: map[string]*huma.Response{"default": problems(schemas)},
	}, s.roles)
	huma.Register(a, huma.Operation{
		OperationID: "whoami", Method: http.MethodGet, Path: Prefix + "whoami", Summary: "Who the token stands for",
		Responses: map[string]*huma.Response{"default": problems(schemas)},
	}, s.whoami)
}

func problems(schemas huma.Registry) *huma.Response {
	return &huma.Response{Description: "What is wrong", Content: map[string]*huma.MediaType{
		problemType: {Schema: schemas.Schema(typeOf[problem](), true, "")},
	}}
}

// Bounds on the words of an ask, in characters: together, with a space, they are
// what broker takes.
const (
	maxTicket = 200
	maxReason = 799
)

type askInput struct {
	Key  string `header:"Idempotency-Key" maxLength:"255" pattern:"^[ -~]+$" doc:"Of this one ask, whenever it is sent again"`
	Body ask
}

// ask is the body of an ask. What is not named here is refused.
type ask struct {
	_        struct{}        `additionalProperties:"false"`
	Role     policy.RoleName `json:"role" maxLength:"64" pattern:"^[A-Za-z0-9._-]+$"`
	Duration string          `json:"duration,omitempty" maxLength:"16" doc:"Hours and minutes, as in 1h30m; without it, the role's default"`
	Ticket   string          `json:"ticket,omitempty" maxLength:"200" doc:"One word"`
	Reason   string          `json:"reason,omitempty" maxLength:"799"`
}

type output[T any] struct{ Body T }

func (s *server) ask(ctx context.Context, in *askInput) (*output[credentials], error) {
	var length time.Duration
	if in.Body.Duration != "" {
		var err error
		if length, err = policy.ParseDuration(in.Body.Duration); err != nil {
			return nil, wrongField("duration")
		}
	}
	if !oneWord(in.Body.Ticket) {
		return nil, wrongField("ticket")
	}
	if !plain(in.Body.Reason) {
		return nil, wrongField("reason")
	}
	words := strings.Join(strings.Fields(in.Body.Ticket+" "+in.Body.Reason), " ")
	return s.issue(ctx, in.Key, func(ctx context.Context, c *call, key string, deadline time.Time) (broker.Issued, error) {
		return s.Broker.Issue(ctx, broker.Ask{
			Token: c.token, Surface: broker.SurfaceAPI, Key: key, Role: in.Body.Role, Duration: length, Words: words, Deadline: deadline,
		})
	})
}

type againInput struct {
	Key string `header:"Idempotency-Key" maxLength:"255" pattern:"^[ -~]+$" doc:"Of this one ask, whenever it is sent again"`
	ID  string `path:"id"`
}

func (s *server) askAgain(ctx context.Context, in *againInput) (*output[credentials], error) {
	if !requestID().MatchString(in.ID) {
		return nil, noRequest()
	}
	return s.issue(ctx, in.Key, func(ctx context.Context, c *call, key string, deadline time.Time) (broker.Issued, error) {
		return s.Broker.Use(ctx, broker.AskAgain{Token: c.token, RequestID: in.ID, Key: key, Deadline: deadline})
	})
}

// issue answers with what comes of an ask. It goes on where the caller has hung
// up: what then cannot be delivered is recorded so, and can be asked for again.
func (s *server) issue(ctx context.Context, given string, ask func(context.Context, *call, string, time.Time) (broker.Issued, error)) (*output[credentials], error) {
	key, err := s.key(given)
	if err != nil {
		return nil, s.tell(err)
	}
	c := callOf(ctx)
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), Patience)
	defer stop()
	issued, err := ask(ctx, c, key, s.Now().Add(Patience))
	if err != nil {
		return nil, s.tell(err)
	}
	c.issued, c.ready = &issued, s.Now()
	return &output[credentials]{credentialsOf(issued)}, nil
}

// key is the caller's own key of an ask, or one that nobody has used. The two
// never meet.
func (s *server) key(given string) (string, error) {
	if given != "" {
		return "given:" + given, nil
	}
	var random [16]byte
	if _, err := io.ReadFull(s.Entropy, random[:]); err != nil {
		return "", fmt.Errorf("drawing random bytes: %w", err)
	}
	return "drawn:" + hex.EncodeToString(random[:]), nil
}

func (s *server) request(ctx context.Context, in *struct {
	ID string `path:"id"`
}) (*output[request], error) {
	if !requestID().MatchString(in.ID) {
		return nil, noRequest()
	}
	r, err := s.Broker.Asked(ctx, callOf(ctx).token, in.ID)
	if err != nil {
		return nil, s.tell(err)
	}
	return &output[request]{requestOf(r, s.Now())}, nil
}

func (s *server) roles(ctx context.Context, _ *struct{}) (*output[roles], error) {
	me, err := s.me(ctx)
	if err != nil {
		return nil, err
	}
	return &output[roles]{rolesOf(me)}, nil
}

func (s *server) whoami(ctx context.Context, _ *struct{}) (*output[whoami], error) {
	me, err := s.me(ctx)
	if err != nil {
		return nil, err
	}
	return &output[whoami]{whoamiOf(me)}, nil
}

// me is who calls; the error is what they are told.
func (s *server) me(ctx context.Context) (broker.Me, error) {
	key, err := s.key("")
	if err != nil {
		return broker.Me{}, s.tell(err)
	}
	me, err := s.Broker.WhoBears(ctx, callOf(ctx).token, key)
	if err != nil {
		return broker.Me{}, s.tell(err)
	}
	return me, nil
}

// tell returns what the caller is told of an error. What failed is logged.
func (s *server) tell(err error) error {
	var waits *broker.Waiting
	var settled *broker.Settled
	switch {
	case errors.As(err, &waits):
		return waitingOf(&waits.Request)
	case errors.As(err, &settled) && settled.Request.State == broker.StatePending:
		return waitingOf(&settled.Request)
	}
	p := explain(err, s.Now())
	var fault *broker.Fault
	switch {
	case errors.As(err, &fault):
		s.Log.Error("a request failed", "request_id", fault.RequestID, "fault", fault.Code, "err", fault.Err)
	case p.Code == codeInternal:
		s.Log.Error("a request failed", "err", err)
	}
	return p
}

// requestID is the form of a Request's ID.
var requestID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{20}$`) })

// oneWord says whether a ticket is one word, or none.
func oneWord(s string) bool { return plain(s) && !strings.ContainsFunc(s, unicode.IsSpace) }

// plain says whether text can be kept and shown as it is: without characters that
// control a terminal, or turn the direction of what follows. Lines are taken for
// words.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && !unicode.IsSpace(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\uFEFF' || r >= 0xE0000 && r <= 0xE007F
	})
}
