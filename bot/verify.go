package bot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/starback/starback/broker"
)

// maxSkew is how old or how far ahead a signed request may be. Source: Slack's
// page on verifying requests.
const maxSkew = 5 * time.Minute

// Why a request is not taken for Slack's. The texts tell an attacker nothing.
var (
	errUnsigned = errors.New("the request is not signed")
	errStale    = errors.New("the request is too old or from the future")
	errForged   = errors.New("the signature does not fit")
)

// verify says whether Slack signed body with secret within maxSkew of now. The
// errors never hold a signature.
func verify(secret broker.Secret, header http.Header, body []byte, now time.Time) error {
	if secret.IsZero() {
		return errUnsigned // with an empty key anybody could sign
	}
	stamps, signatures := header["X-Slack-Request-Timestamp"], header["X-Slack-Signature"]
	if len(stamps) != 1 || len(signatures) != 1 {
		return errUnsigned
	}
	seconds, err := strconv.ParseInt(stamps[0], 10, 64)
	if err != nil {
		return errUnsigned
	}
	if skew := now.Sub(time.Unix(seconds, 0)); skew > maxSkew || skew < -maxSkew {
		return errStale
	}
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte("v0:" + stamps[0] + ":"))
	mac.Write(body)
	want := "v0=" + hex.EncodeToString(mac.Sum(nil))
	if !hmac.Equal([]byte(want), []byte(signatures[0])) {
		return errForged
	}
	return nil
}
