package bot

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/starback/starback/broker"
)

// jobPatience is how long after it was typed a command may still be carried
// out. Nobody waits longer for an answer.
const jobPatience = 5 * time.Minute

// work is what a Job's Body says once it is opened. It holds words and ids,
// and one capability: the response URL.
type work struct {
	Kind     workKind        `json:"kind"`
	Caller   broker.SlackID  `json:"caller"`
	Key      string          `json:"key"` // Slack's own id of this one delivery
	Received time.Time       `json:"received"`
	Channel  string          `json:"channel,omitempty"`
	Text     string          `json:"text,omitempty"`     // of a command; why an approver says no
	Action   string          `json:"action,omitempty"`   // the button pressed, or the menu chosen from
	Value    string          `json:"value,omitempty"`    // and its value
	Link     string          `json:"link,omitempty"`     // in the Text: to the message that a shortcut was chosen on
	View     string          `json:"view,omitempty"`     // the modal that it was done in, and that shows the answer
	Hash     string          `json:"hash,omitempty"`     // of that modal, as it was then
	Forms    bool            `json:"forms,omitempty"`    // a form may be opened for the command
	Standing broker.Standing `json:"standing,omitempty"` // what Slack says of Caller

	// ResponseURL is exported, or printing work would show it: fmt calls no
	// methods of fields that are not. It is encoded by sealed alone.
	ResponseURL broker.Secret `json:"-"`

	Tries int `json:"-"` // how often it was taken up before
}

// A workKind says what happened in Slack.
type workKind string

const (
	workCommand  workKind = "command"
	workButton   workKind = "button"
	workStanding workKind = "standing"
	workForm     workKind = "form"     // submitted
	workOpening  workKind = "opening"  // of a form that a Worker draws
	workOutsider workKind = "outsider" // a button, pressed by somebody of another workspace
)

// id names the work: the same delivery twice has the same id.
func (w work) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s", w.Kind, w.Caller, w.Key))
	return hex.EncodeToString(sum[:16])
}

// A Sealer keeps Jobs closed to everyone but the bot: AES-256-GCM under a key
// derived from the Slack signing secret. What is in a queue or in a store file
// can be neither read nor made up without that secret.
type Sealer struct {
	aead    cipher.AEAD
	entropy io.Reader
}

// NewSealer returns a Sealer for an installation's signing secret.
func NewSealer(secret broker.Secret, entropy io.Reader) (*Sealer, error) {
	if secret.IsZero() {
		return nil, fmt.Errorf("no signing secret: %w", broker.ErrInvalid)
	}
	key, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, "starback job v1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{aead: aead, entropy: entropy}, nil
}

// sealed is the plain form of a Body, inside the seal.
type sealed struct {
	work
	ResponseURL string `json:"response_url,omitempty"`
}

// seal makes a Job of w.
func (s *Sealer) seal(w work) (broker.Job, error) {
	plain, err := json.Marshal(sealed{work: w, ResponseURL: w.ResponseURL.Reveal()})
	if err != nil {
		return broker.Job{}, err
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(s.entropy, nonce); err != nil {
		return broker.Job{}, err
	}
	id := w.id()
	return broker.Job{
		ID: id, Body: s.aead.Seal(nonce, nonce, plain, []byte(id)), Deadline: w.Received.Add(jobPatience),
	}, nil
}

// errSealed says that a Job was not sealed by this installation, or was
// changed since.
var errSealed = errors.New("the job cannot be opened")

// open returns what seal was given.
func (s *Sealer) open(j broker.Job) (work, error) {
	n := s.aead.NonceSize()
	if len(j.Body) < n {
		return work{}, errSealed
	}
	plain, err := s.aead.Open(nil, j.Body[:n], j.Body[n:], []byte(j.ID))
	if err != nil {
		return work{}, errSealed
	}
	var in sealed
	if json.Unmarshal(plain, &in) != nil {
		return work{}, errSealed
	}
	in.work.ResponseURL = broker.NewSecret(in.ResponseURL)
	return in.work, nil
}
