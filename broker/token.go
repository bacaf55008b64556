package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// A Token is a bearer token of a User, as it is kept: its hash, never itself.
// It is part of its User, so that creating and revoking one is a write of the
// User's item.
type Token struct {
	ID    string `json:"id"`   // names it in lists and in the trail; no secret
	Hash  string `json:"hash"` // SHA-256 of the whole token, in hexadecimal
	Label string `json:"label,omitempty"`

	// A Token is for the Roles in Roles, by their exact names, and not for what
	// those include; for every Role of its User only if AnyRole says so.
	AnyRole bool              `json:"any_role,omitempty"`
	Roles   []policy.RoleName `json:"roles,omitempty"`
	May     []Capability      `json:"may,omitempty"` // beyond requesting

	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	Expires   time.Time `json:"expires"`
	LastUsed  time.Time `json:"last_used,omitzero"` // to the hour
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

// A Capability is something that a Token may do besides requesting.
type Capability string

// The capabilities. A Token without one may request, and nothing else.
const (
	MayApprove    Capability = "approve"
	MayAdminister Capability = "administer"
	MayMakeTokens Capability = "tokens"
)

// Capabilities lists every Capability.
var Capabilities = []Capability{MayApprove, MayAdminister, MayMakeTokens}

// Live says whether the Token may be used at now.
func (t Token) Live(now time.Time) bool { return t.RevokedAt.IsZero() && now.Before(t.Expires) }

// The form of a token: a prefix that secret scanners can look for, an ID, a
// secret of 178 bits, and a checksum over all of it, so that a scanner need
// not ask whether it has found one.
const (
	TokenPrefix     = "starback_"
	tokenIDSize     = 12
	tokenSecretSize = 30
	tokenSumSize    = 6
	tokenSize       = len(TokenPrefix) + tokenIDSize + tokenSecretSize + tokenSumSize
	base62          = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// newToken draws a token and returns its ID and itself.
func newToken(entropy io.Reader) (id string, token Secret, err error) {
	random, err := randomWord(entropy, tokenIDSize+tokenSecretSize)
	if err != nil {
		return "", Secret{}, err
	}
	body := TokenPrefix + random
	return random[:tokenIDSize], NewSecret(body + tokenSum(body)), nil
}

// randomWord draws n letters and digits, each as likely as the others.
func randomWord(entropy io.Reader, n int) (string, error) {
	const fair = 256 - 256%len(base62) // a byte past it would favour the first few
	word := make([]byte, 0, n)
	for buf := make([]byte, 64); len(word) < n; {
		if _, err := io.ReadFull(entropy, buf); err != nil {
			return "", fmt.Errorf("drawing random bytes: %w", err)
		}
		for _, b := range buf {
			if int(b) < fair && len(word) < n {
				word = append(word, base62[int(b)%len(base62)])
			}
		}
	}
	return string(word), nil
}

// tokenSum is the checksum of a token: CRC-32, in base 62.
func tokenSum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	var out [tokenSumSize]byte // 62⁶ is more than 2³²
	for i := range out {
		out[len(out)-1-i] = base62[sum%uint32(len(base62))]
		sum /= uint32(len(base62))
	}
	return string(out[:])
}

// ParseToken returns the ID of a token that has the form of one. Everything
// else is ErrInvalid, without a word of it.
func ParseToken(token Secret) (id string, err error) {
	s := token.Reveal()
	body, ok := strings.CutPrefix(s, TokenPrefix)
	if !ok || len(s) != tokenSize || strings.Trim(body, base62) != "" ||
		tokenSum(s[:len(s)-tokenSumSize]) != s[len(s)-tokenSumSize:] {
		return "", fmt.Errorf("that is not a token of Starback's: %w", ErrInvalid)
	}
	return body[:tokenIDSize], nil
}

// hashToken returns what is kept of a token. It is drawn from 178 bits, so a
// plain hash keeps it.
func hashToken(token Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}

// token returns the User's Token that is this one, live or not.
func (u *User) token(token Secret) *Token {
	hash := hashToken(token)
	for i := range u.Tokens {
		if subtle.ConstantTimeCompare([]byte(u.Tokens[i].Hash), []byte(hash)) == 1 {
			return &u.Tokens[i]
		}
	}
	return nil
}

// joinTokens says in words which Tokens are good.
func joinTokens(tokens []Token) string {
	var ids []string
	for _, t := range tokens {
		if t.RevokedAt.IsZero() {
			ids = append(ids, t.ID)
		}
	}
	return joinNames(ids)
}

// maxTokens bounds the Tokens of one User, so that a User stays one small item.
const maxTokens = 20

// A TokenWish says what a new Token is to be.
type TokenWish struct {
	User    policy.UserName
	Label   string            // what it is for; at most 64 characters
	Life    time.Duration     // 0: as long as the Policy allows
	AnyRole bool              // for every Role of the User
	Roles   []policy.RoleName // or for these alone
	May     []Capability
}

const maxTokenLabel = 64

// CreateToken makes a Token of a User and returns it with the token itself,
// which nobody can be shown again. Its life is bounded by the Policy's
// token_lifetime and by the User's own.
func (a *Admin) CreateToken(ctx context.Context, wish TokenWish) (Token, Secret, error) {
	_, doc, err := a.Policies.Head(ctx)
	if err != nil {
		return Token{}, Secret{}, err
	}
	if doc == nil {
		return Token{}, Secret{}, fmt.Errorf("there is no policy yet; make one with init: %w", ErrNotFound)
	}
	if err := wish.check(doc); err != nil {
		return Token{}, Secret{}, err
	}
	for range changeTries {
		now := a.now()
		was, err := a.Users.User(ctx, wish.User)
		if errors.Is(err, ErrNotFound) || err == nil && was.Removed {
			return Token{}, Secret{}, a.noUser(ctx, wish.User)
		}
		if err != nil {
			return Token{}, Secret{}, err
		}
		want := was.clone()
		t, token, err := a.addToken(&want, wish, doc, now)
		if err != nil {
			return Token{}, Secret{}, err
		}
		loud, err := a.tokenLoud(want, t, doc)
		if err != nil {
			return Token{}, Secret{}, err
		}
		// Whoever follows the name to the User finds the Token there, or nothing.
		if err := a.Tokens.NameToken(ctx, t.ID, want.Name); err != nil {
			return Token{}, Secret{}, err
		}
		w := written{note: t.words(), loud: loud, token: t.ID}
		if _, err = a.putUser(ctx, was, want, w, now); !isConflict(err) {
			return t, token, err
		}
		if err := ctx.Err(); err != nil {
			return Token{}, Secret{}, err
		}
	}
	return Token{}, Secret{}, fmt.Errorf("others keep changing the same: %w", ErrConflict)
}

// tokenLoud says why everybody is told of a Token of u; empty if it may do
// nothing but request. One that may more, of the author or of an application of
// theirs, benefits its author. As it is shown once, to whoever makes it, it
// cannot wait for a second administrator: that one has to make it.
func (a *Admin) tokenLoud(u User, t Token, d *policy.Document) (string, error) {
	if len(t.May) == 0 {
		return "", nil
	}
	bearing := fmt.Sprintf("bears this token of %s may %s", u.Name, mayWords(t.May))
	self := a.Author.User
	switch own := self != "" && (u.Name == self || u.IsApp && u.Owner == self); {
	case own && d.Settings.TwoAdmins:
		return "", fmt.Errorf("this benefits you, so another administrator has to make it (two_admins): whoever %s: %w", bearing, ErrDenied)
	case own:
		return fmt.Sprintf("This benefits its author %s: whoever %s.", a.Author.Name, bearing), nil
	default:
		return "Whoever " + bearing + ".", nil
	}
}

// check refuses a wish that makes no sense under d.
func (w TokenWish) check(d *policy.Document) error {
	switch {
	case w.AnyRole == (len(w.Roles) > 0):
		return fmt.Errorf("a token is either for named roles or for any role of its user: %w", ErrInvalid)
	case w.Life < 0:
		return fmt.Errorf("a token cannot last a negative time: %w", ErrInvalid)
	case w.Life > d.Settings.TokenCap():
		return fmt.Errorf("the policy lets a token last %s at most: %w", daysText(d.Settings.TokenCap()), ErrInvalid)
	case len([]rune(w.Label)) > maxTokenLabel:
		return fmt.Errorf("the label is longer than %d characters: %w", maxTokenLabel, ErrInvalid)
	}
	for _, role := range w.Roles {
		if err := roleThere(d, role); err != nil {
			return err
		}
	}
	for _, c := range w.May {
		if !slices.Contains(Capabilities, c) {
			return fmt.Errorf("%q is not one of %s: %w", c, joinNames(Capabilities), ErrInvalid)
		}
	}
	return nil
}

// addToken gives u a new Token.
func (a *Admin) addToken(u *User, wish TokenWish, d *policy.Document, now time.Time) (Token, Secret, error) {
	// What is over and done with makes room.
	u.Tokens = slices.DeleteFunc(u.Tokens, func(t Token) bool { return !now.Before(t.Expires) })
	switch {
	case len(u.Tokens) >= maxTokens:
		return Token{}, Secret{}, fmt.Errorf("%s has %d tokens, which is the most; revoked ones count until they expire: %w", u.Name, maxTokens, ErrConflict)
	case !u.Enabled || !now.Before(u.Expires):
		return Token{}, Secret{}, fmt.Errorf("%s is switched off or expired, so a token would be of no use: %w", u.Name, ErrInvalid)
	case u.IsApp && slices.ContainsFunc(wish.May, func(c Capability) bool { return c != MayMakeTokens }):
		return Token{}, Secret{}, fmt.Errorf("%s is an application, which can neither approve nor administer: %w", u.Name, ErrInvalid)
	}
	id, token, err := newToken(a.Entropy)
	if err != nil {
		return Token{}, Secret{}, err
	}
	life := wish.Life
	if life == 0 {
		life = d.Settings.TokenCap()
	}
	t := Token{
		ID: id, Hash: hashToken(token), Label: wish.Label, AnyRole: wish.AnyRole, Roles: slices.Sorted(slices.Values(wish.Roles)),
		May: slices.Sorted(slices.Values(wish.May)), CreatedAt: now, CreatedBy: a.Author.Name, Expires: now.Add(life),
	}
	if u.Expires.Before(t.Expires) {
		t.Expires = u.Expires
	}
	u.Tokens = append(u.Tokens, t)
	return t, token, nil
}

// words says what a Token is for.
func (t Token) words() string {
	words := "token " + t.ID + " for any role"
	if !t.AnyRole {
		words = "token " + t.ID + " for " + joinNames(t.Roles)
	}
	if len(t.May) > 0 {
		words += ", which may also " + mayWords(t.May)
	}
	return words + ", until " + day(t.Expires)
}

// mayWords says in words what capabilities allow.
func mayWords(may []Capability) string {
	words := make([]string, len(may))
	for i, c := range may {
		words[i] = string(c)
		if c == MayMakeTokens {
			words[i] = "make tokens"
		}
	}
	return joinNames(words)
}

// revoke ends a Token of u.
func revoke(u *User, id string, now time.Time) error {
	for i, t := range u.Tokens {
		if t.ID == id {
			if t.RevokedAt.IsZero() {
				u.Tokens[i].RevokedAt = now
			}
			return nil
		}
	}
	return fmt.Errorf("%s has no token %s (%w)", u.Name, id, ErrNotFound)
}

// keepUses takes over when the Tokens of stored were used.
func (u *User) keepUses(stored User) {
	used := map[string]time.Time{}
	for _, t := range stored.Tokens {
		used[t.ID] = t.LastUsed
	}
	for i, t := range u.Tokens {
		if at := used[t.ID]; at.After(t.LastUsed) {
			u.Tokens[i].LastUsed = at
		}
	}
}

// daysText writes a length of time in days where it is some.
func daysText(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
