package sandbox

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// SlackConfig sets up a [Slack].
type SlackConfig struct {
	// Now is the clock that trigger ids, response URLs, timestamps and rates
	// go by. It is required.
	Now func() time.Time
	// Rand is where secrets come from; nil means crypto/rand.
	Rand io.Reader
	// TeamID is the workspace; empty means T0SANDBOX.
	TeamID string
	// EnterpriseID is the Enterprise Grid organisation the workspace belongs
	// to; empty means that it belongs to none.
	EnterpriseID string
	// RatePerChannel refuses a second chat.postMessage to a channel within
	// one second, as Slack does.
	RatePerChannel bool
	// AckTimeout is how long a delivery waits for the app's answer; zero
	// means Slack's 3 s. It is measured in real time, not by Now.
	AckTimeout time.Duration
}

// SlackUser is a person, a bot or an app user of the workspace, or of another
// one that shares a channel with it.
type SlackUser struct {
	ID, Name, RealName, Email string
	EmailConfirmed            bool
	TZ                        string // an IANA name; empty means UTC
	Deleted, Bot, AppUser     bool
	Restricted                bool // a multi-channel guest
	UltraRestricted           bool // a single-channel guest
	Stranger                  bool // known only through a shared channel
	// TeamID and EnterpriseID are the user's own; AddUser fills empty ones
	// with the workspace's.
	TeamID, EnterpriseID string
}

// SlackChannel is a conversation. An ID that starts with D is a direct message
// with the app.
type SlackChannel struct {
	ID, Name string
	Members  []string // user ids
	BotIn    bool     // whether the app's bot is a member
}

// SlackUserGroup is a set of people that messages mention as one.
type SlackUserGroup struct {
	ID, Handle string // the handle without the @
}

// Slack is a workspace with one app installed. It serves the Web API, response
// URLs and Socket Mode, and delivers commands, clicks and events to the app,
// signed. Its methods may be called from several goroutines.
//
// An [http.Server] in front of it makes it reachable; [Slack.SetURL] then tells
// it its own address, which response URLs need.
type Slack struct {
	now                         func() time.Time
	teamID, enterpriseID        string
	ratePerChannel              bool
	ackTimeout                  time.Duration
	signing, botToken, appToken string
	verification                string // the deprecated "token" field
	appID, botID, botUser       string
	slackbot                    string // the user id of Slack's own bot

	mu       sync.Mutex
	rand     io.Reader
	changed  chan struct{} // closed and replaced whenever someone sees something new
	revision int           // counts those changes
	serial   int           // numbers views, events and conversations
	lastTS   int64         // microseconds; timestamps never repeat
	ownURL   string
	appURL   string
	users    map[string]*SlackUser
	channels map[string]*SlackChannel
	groups   map[string]SlackUserGroup
	messages []*slackMessage
	views    []*slackView
	gone     map[string]int // the last revision at which a user lost sight of something
	triggers map[string]*slackTrigger
	links    map[string]*slackLink // response URLs, by path
	posted   map[string]time.Time  // last chat.postMessage, by channel
	tickets  map[string]bool       // unused Socket Mode tickets
	sockets  []*slackSocket
	calls    map[string]int
	fault    func(method string) *SlackFault
}

// NewSlack makes an empty workspace. It panics if cfg.Now is nil or cfg.Rand
// fails.
func NewSlack(cfg SlackConfig) *Slack {
	if cfg.Now == nil {
		panic("sandbox: SlackConfig.Now is nil")
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	s := &Slack{
		now:            cfg.Now,
		teamID:         cmp.Or(cfg.TeamID, "T0SANDBOX"),
		enterpriseID:   cfg.EnterpriseID,
		ratePerChannel: cfg.RatePerChannel,
		ackTimeout:     cmp.Or(cfg.AckTimeout, 3*time.Second),
		appID:          "A0STARBACK",
		botID:          "B0STARBACK",
		botUser:        "U0STARBACK",
		slackbot:       "USLACKBOT",
		rand:           cfg.Rand,
		changed:        make(chan struct{}),
		users:          map[string]*SlackUser{},
		channels:       map[string]*SlackChannel{},
		groups:         map[string]SlackUserGroup{},
		gone:           map[string]int{},
		triggers:       map[string]*slackTrigger{},
		links:          map[string]*slackLink{},
		posted:         map[string]time.Time{},
		tickets:        map[string]bool{},
		calls:          map[string]int{},
	}
	s.signing = s.secret()
	s.botToken = "xoxb-" + s.secret()
	s.appToken = "xapp-" + s.secret()
	s.verification = s.secret()
	s.users[s.botUser] = &SlackUser{ID: s.botUser, Name: "starback", RealName: "Starback", Bot: true,
		TeamID: s.teamID, EnterpriseID: s.enterpriseID}
	return s
}

// SigningSecret is what deliveries to the app are signed with. Like both
// tokens, it holds [Marker].
func (s *Slack) SigningSecret() string { return s.signing }

// BotToken is the token for every Web API method but apps.connections.open.
func (s *Slack) BotToken() string { return s.botToken }

// AppToken is the token for apps.connections.open.
func (s *Slack) AppToken() string { return s.appToken }

// SetURL tells the workspace where it is reachable, such as
// "http://127.0.0.1:8080"; response URLs begin with it.
func (s *Slack) SetURL(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ownURL = strings.TrimSuffix(base, "/")
}

// SetApp says where the app is: deliveries are posted to base +
// /slack/commands, /slack/interactions and /slack/events, unless the app is
// connected over Socket Mode.
func (s *Slack) SetApp(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appURL = strings.TrimSuffix(base, "/")
}

// AddUser adds a user, or replaces the one with the same id.
func (s *Slack) AddUser(u SlackUser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.TeamID == "" {
		u.TeamID = s.teamID
		u.EnterpriseID = cmp.Or(u.EnterpriseID, s.enterpriseID)
	}
	s.users[u.ID] = &u
}

// SetUser changes a user. It tells the app nothing: see [Slack.UserChanged]. It
// fails if there is no such user.
func (s *Slack) SetUser(id string, change func(*SlackUser)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[id]
	if !ok {
		return fmt.Errorf("sandbox: no user %s", id)
	}
	changed := *u
	change(&changed)
	s.users[id] = &changed
	return nil
}

// AddUserGroup adds a user group, or replaces the one with the same id.
func (s *Slack) AddUserGroup(g SlackUserGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[g.ID] = g
}

// AddChannel adds a channel, or replaces the one with the same id.
func (s *Slack) AddChannel(c SlackChannel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Members = slices.Clone(c.Members)
	s.channels[c.ID] = &c
}

// Calls counts the requests to each Web API method by its name, and those to
// response URLs as "response_url". Refused and failed ones count too.
func (s *Slack) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// secret returns a fresh secret that is safe in URLs and headers. The caller
// holds s.mu, or is alone.
func (s *Slack) secret() string {
	return strings.NewReplacer("+", "", "/", "").Replace(Secret(56, s.rand))
}

// next returns a fresh id with a prefix. The caller holds s.mu.
func (s *Slack) next(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s%08d", prefix, s.serial)
}

// home reports whether a user belongs to the workspace or its organisation.
func (s *Slack) home(u *SlackUser) bool {
	return !u.Stranger && (u.TeamID == s.teamID || s.enterpriseID != "" && u.EnterpriseID == s.enterpriseID)
}

// slackJSON encodes a value built here, which always encodes.
func slackJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sandbox: %v", err))
	}
	return b
}
