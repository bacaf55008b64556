package sandbox

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"
)

// AWS's limits on a session, from the AssumeRole reference.
const (
	awsMinSession     = 900 * time.Second
	awsMaxSession     = 43200 * time.Second
	awsDefaultSession = time.Hour
	awsMaxChained     = time.Hour // a role that assumes a role

	awsDefaultTokenSize = 1000
	awsMaxTokenSize     = 4096 // STS's limit on a session token, in bytes
	awsSecretKeySize    = 40
)

var (
	awsAccountID    = regexp.MustCompile(`^[0-9]{12}$`)
	awsUserName     = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	awsRoleARN      = newAWSARN(`iam::([0-9]{12}):role/(?:[!-~]+/)?([\w+=,.@-]{1,64})`)
	awsPrincipalARN = newAWSARN(`iam::[0-9]{12}:(?:root|(?:user|role)/[!-~]+)`)
)

// AWSConfig configures [NewAWS].
type AWSConfig struct {
	// Now is the clock. It is required. Answers carry it in their Date header,
	// so an SDK client whose own clock differs corrects itself and tries again.
	Now func() time.Time

	// Rand is the source of ids and secrets, crypto/rand.Reader by default. It
	// is never read by two goroutines at once, and must not repeat itself.
	Rand io.Reader

	// TokenSize is the length of session tokens, as for SetTokenSize. Zero
	// means 1,000.
	TokenSize int
}

// AWS is a stand-in for the parts of AWS that issue credentials and end them:
// STS, the versions of managed policies in IAM, the parameters of Systems
// Manager, and the console's sign-in endpoint. It is an [http.Handler] for all
// four, to be mounted at the root of a listener, and safe for concurrent use.
//
// IAM policies decide over calls of IAM alone: a role's trust policy decides
// who may assume it, and any caller may read and write parameters. There is one
// set of accounts, users, roles and parameters, and every Region sees all of
// it. A member of a call to STS, IAM or Systems Manager that it does not
// implement is refused, not ignored.
type AWS struct {
	now func() time.Time

	mu        sync.Mutex // guards what follows
	rand      io.Reader
	tokenSize int
	requests  int
	users     map[string]*awsKey // by ARN; the user's current key
	roles     map[string]*awsRole
	keys      map[string]*awsKey // by access key id; expired sessions too
	signins   map[string]awsSignin
	policies  map[string]*iamPolicy // by ARN
	params    map[string]ssmParameter
	calls     []Call
	fault     func(service, action string) *Fault
}

// awsKey is an access key and whoever holds it. It never changes once made.
type awsKey struct {
	id        string
	secret    string
	arn       string // as GetCallerIdentity gives it
	userID    string
	account   string
	principal string // the ARN by which a trust policy names the holder

	// What follows is for the session of a role, and empty for a user's key.
	token          string
	expires        time.Time
	partition      string
	role           string // the role's name, without its path
	session        string
	sourceIdentity string
	chained        bool // issued to a caller that was itself a role
}

// isRole reports whether the holder is a role's session and not a user.
func (k *awsKey) isRole() bool { return k.token != "" }

// awsRole is a role as AddRole keeps it.
type awsRole struct {
	Role
	id        string // AROA…, made when the role is first added
	partition string
	account   string
	name      string

	permissions []iamStatement
}

// Key is a user's long-term access key.
type Key struct {
	AccessKeyID     string // AKIA…
	SecretAccessKey string
	ARN             string // the user's: arn:aws:iam::ACCOUNT:user/NAME
}

// Credentials are those of a role's session.
type Credentials struct {
	AccessKeyID     string // ASIA…
	SecretAccessKey string
	SessionToken    string
	Expires         time.Time
}

// Role is an IAM role.
type Role struct {
	ARN   string
	Trust Trust

	// MaxSessionDuration is from 1 h to 12 h, IAM's limits. Zero means 1 h,
	// IAM's default.
	MaxSessionDuration time.Duration

	// Permissions is the IAM policy document that says what sessions of the
	// role may do in IAM. Empty means nothing.
	Permissions string

	// Boundary, unless empty, is the ARN of the managed policy that limits the
	// Permissions. AddPolicy comes first.
	Boundary string
}

// Trust is a role's trust policy. The zero Trust trusts nobody.
type Trust struct {
	// Principals may assume the role. Each is the ARN of a user, of a role
	// (any session of it), or of an account's root
	// (arn:aws:iam::ACCOUNT:root), which means anyone in that account.
	Principals []string

	// TagSession allows sts:TagSession: without it, a call with tags is denied.
	TagSession bool

	// SetSourceIdentity allows sts:SetSourceIdentity: without it, a call with a
	// source identity, its own or inherited from the caller's session, is denied.
	SetSourceIdentity bool

	// ExternalID, unless empty, must be the call's external id.
	ExternalID string
}

// NewAWS returns an AWS with no users, roles or parameters.
func NewAWS(config AWSConfig) *AWS {
	a := &AWS{
		now:      config.Now,
		rand:     config.Rand,
		users:    make(map[string]*awsKey),
		roles:    make(map[string]*awsRole),
		keys:     make(map[string]*awsKey),
		signins:  make(map[string]awsSignin),
		policies: make(map[string]*iamPolicy),
		params:   make(map[string]ssmParameter),
	}
	if a.rand == nil {
		a.rand = rand.Reader
	}
	if config.TokenSize == 0 {
		config.TokenSize = awsDefaultTokenSize
	}
	a.SetTokenSize(config.TokenSize)
	return a
}

// SetTokenSize sets the length of the session tokens made from now on, in
// characters. It panics unless n is at least the length of [Marker] and at most
// 4,096, which is STS's limit.
func (a *AWS) SetTokenSize(n int) {
	if n < len(Marker) || n > awsMaxTokenSize {
		panic(fmt.Sprintf("sandbox: session token size %d is not within %d–%d", n, len(Marker), awsMaxTokenSize))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokenSize = n
}

// AddUser adds an IAM user and gives it an access key. It panics if the account
// is not twelve digits, the name is not one IAM allows, or the user exists.
func (a *AWS) AddUser(account, name string) Key {
	if !awsAccountID.MatchString(account) || !awsUserName.MatchString(name) {
		panic(fmt.Sprintf("sandbox: account %q and name %q do not make a user", account, name))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	arn := "arn:aws:iam::" + account + ":user/" + name
	if a.users[arn] != nil {
		panic("sandbox: user already exists: " + arn)
	}
	return a.giveKey(arn, account, a.newID("AIDA"))
}

// RotateKey gives the user with that ARN a new access key. The old one is
// unknown from then on: InvalidClientTokenId. It panics if there is no such user.
func (a *AWS) RotateKey(userARN string) Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.users[userARN]
	if old == nil {
		panic("sandbox: no such user: " + userARN)
	}
	delete(a.keys, old.id)
	return a.giveKey(userARN, old.account, old.userID)
}

// giveKey makes the key of a user. The caller holds a.mu.
func (a *AWS) giveKey(arn, account, userID string) Key {
	k := &awsKey{
		id:        a.newID("AKIA"),
		secret:    Secret(awsSecretKeySize, a.rand),
		arn:       arn,
		userID:    userID,
		account:   account,
		principal: arn,
	}
	a.users[arn], a.keys[k.id] = k, k
	return Key{AccessKeyID: k.id, SecretAccessKey: k.secret, ARN: arn}
}

// AddRole adds a role, or changes the one with the same ARN, whose id and
// sessions stay. It panics if the ARN, a principal, the maximum duration, the
// permissions or the boundary is not one that IAM would accept.
func (a *AWS) AddRole(role Role) {
	m := awsRoleARN.find(role.ARN)
	if m == nil {
		panic(fmt.Sprintf("sandbox: %q is not the ARN of a role", role.ARN))
	}
	for _, p := range role.Trust.Principals {
		if awsPrincipalARN.find(p) == nil {
			panic(fmt.Sprintf("sandbox: role %s trusts %q, which is not the ARN of a user, a role or an account's root", role.ARN, p))
		}
	}
	if role.MaxSessionDuration == 0 {
		role.MaxSessionDuration = awsDefaultSession
	}
	if role.MaxSessionDuration < time.Hour || role.MaxSessionDuration > awsMaxSession {
		panic(fmt.Sprintf("sandbox: role %s: maximum session duration %v is not within 1h–12h", role.ARN, role.MaxSessionDuration))
	}
	r := &awsRole{Role: role, partition: m[1], account: m[2], name: m[3]}
	if role.Permissions != "" {
		statements, refusal := iamParse(role.Permissions)
		if refusal != nil {
			panic(fmt.Sprintf("sandbox: role %s: permissions: %s: %s", role.ARN, refusal.code, refusal.message))
		}
		r.permissions = statements
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	if role.Boundary != "" && a.policies[role.Boundary] == nil {
		panic(fmt.Sprintf("sandbox: role %s: the boundary %s does not exist", role.ARN, role.Boundary))
	}
	if old := a.roles[role.ARN]; old != nil {
		r.id = old.id
	} else {
		r.id = a.newID("AROA")
	}
	a.roles[role.ARN] = r
}

// RemoveRole removes a role and its sessions, whose keys are unknown from then
// on. It does nothing if there is no such role.
func (a *AWS) RemoveRole(arn string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.roles, arn)
	for id, k := range a.keys {
		if k.principal == arn {
			delete(a.keys, id)
		}
	}
}

// RoleCredentials returns a session of a role, as a service gives one to the
// program it runs: nobody called AssumeRole, so the trust policy is not asked
// and nothing is recorded. A role assumed with these credentials is chained.
// The error says which of AWS's rules the arguments break.
func (a *AWS) RoleCredentials(roleARN, sessionName string, d time.Duration) (Credentials, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	role := a.roles[roleARN]
	switch {
	case role == nil:
		return Credentials{}, fmt.Errorf("sandbox: no such role: %s", roleARN)
	case len(sessionName) < 2 || len(sessionName) > 64 || !stsName.MatchString(sessionName):
		return Credentials{}, fmt.Errorf("sandbox: %q is not a session name: 2 to 64 of [\\w+=,.@-]", sessionName)
	case d < awsMinSession || d > role.MaxSessionDuration:
		return Credentials{}, fmt.Errorf("sandbox: duration %v is not within %v–%v", d, awsMinSession, role.MaxSessionDuration)
	}
	return a.newSession(role, sessionName, a.now().Add(d), a.tokenSize).credentials(), nil
}

// newSession makes a session of a role. The caller holds a.mu, and adds what
// the session inherits before anybody else can see it.
func (a *AWS) newSession(role *awsRole, name string, expires time.Time, tokenSize int) *awsKey {
	k := &awsKey{
		id:        a.newID("ASIA"),
		secret:    Secret(awsSecretKeySize, a.rand),
		arn:       "arn:" + role.partition + ":sts::" + role.account + ":assumed-role/" + role.name + "/" + name,
		userID:    role.id + ":" + name,
		account:   role.account,
		principal: role.ARN,
		token:     Secret(tokenSize, a.rand),
		expires:   expires,
		partition: role.partition,
		role:      role.name,
		session:   name,
	}
	a.keys[k.id] = k
	return k
}

func (k *awsKey) credentials() Credentials {
	return Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret, SessionToken: k.token, Expires: k.expires}
}

// newID makes an id of twenty characters: the prefix of four that says what it
// names, and sixteen of [A-Z2-7]. The caller holds a.mu.
func (a *AWS) newID(prefix string) string {
	return prefix + base32.StdEncoding.EncodeToString(awsRandom(10, a.rand))
}
