package cloud

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// Bounds on a console session. Source: the IAM User Guide on custom identity
// brokers.
const (
	minConsole = 15 * time.Minute
	maxConsole = 12 * time.Hour
)

// maxSignInAnswer bounds what is read from the sign-in endpoint, in bytes.
const maxSignInAnswer = 64 << 10

// SignIn implements broker.Minter. A failed call is tried once more.
func (m *Minter) SignIn(ctx context.Context, c broker.Credentials, role *policy.Role) (broker.Secret, error) {
	endpoint, home, err := m.signInEndpoint(role)
	if err != nil {
		return broker.Secret{}, &broker.Fault{Code: broker.FaultSignIn, Err: err}
	}
	token, again, err := m.signInToken(ctx, endpoint, c)
	if err != nil && again && ctx.Err() == nil {
		token, _, err = m.signInToken(ctx, endpoint, c)
	}
	if err != nil {
		return broker.Secret{}, &broker.Fault{Code: broker.FaultSignIn, Err: err}
	}
	destination := role.Destination
	if destination == "" {
		destination = home
	}
	login := url.Values{
		"Action": {"login"}, "Issuer": {m.Issuer}, "Destination": {destination}, "SigninToken": {token},
	}
	return broker.NewSecret(endpoint + "?" + login.Encode()), nil
}

// signInEndpoint returns the endpoint and the console's home for a Role.
func (m *Minter) signInEndpoint(role *policy.Role) (endpoint, home string, err error) {
	name := partitionOf(role)
	partition, _ := policy.PartitionNamed(name)
	if partition.Console == "" {
		return "", "", fmt.Errorf("no console is known for the partition %q", name)
	}
	region := role.Region
	if region == "" {
		region = m.AWS.Region
	}
	host, console := partition.SignIn, partition.Console
	if partition.Regional {
		region = cmp.Or(region, partition.IAM)
		console = region + "." + console
	}
	if partition.Regional || region != "" && region != partition.IAM { // IAM's Region is the one that the host alone stands for
		host = region + "." + host
	}
	home = "https://" + console + "/"
	if region != "" {
		home += "console/home?region=" + url.QueryEscape(region)
	}
	if m.SignInURL != "" {
		return m.SignInURL, home, nil
	}
	return "https://" + host + "/federation", home, nil
}

// signInToken trades credentials for a sign-in token. Its errors never hold
// the URL, which holds the credentials.
func (m *Minter) signInToken(ctx context.Context, endpoint string, c broker.Credentials) (token string, again bool, err error) {
	session, err := json.Marshal(map[string]string{
		"sessionId": c.AccessKeyID, "sessionKey": c.SecretKey.Reveal(), "sessionToken": c.SessionToken.Reveal(),
	})
	if err != nil {
		return "", false, errors.New("the credentials cannot be encoded")
	}
	ask := url.Values{"Action": {"getSigninToken"}, "Session": {string(session)}}
	if !c.Chained { // AWS refuses a duration for credentials issued to a role
		left := min(max(c.ExpiresAt.Sub(m.Now()).Truncate(time.Second), minConsole), maxConsole)
		ask.Set("SessionDuration", strconv.Itoa(int(left/time.Second)))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"?"+ask.Encode(), nil)
	if err != nil {
		return "", false, errors.New("the sign-in endpoint is not a URL")
	}
	res, err := m.signIn.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err
		}
		return "", true, fmt.Errorf("the sign-in endpoint did not answer: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests,
			fmt.Errorf("the sign-in endpoint answered %d", res.StatusCode)
	}
	var answer struct{ SigninToken string }
	if json.NewDecoder(io.LimitReader(res.Body, maxSignInAnswer)).Decode(&answer) != nil || answer.SigninToken == "" {
		return "", true, errors.New("the sign-in endpoint answered without a token")
	}
	return answer.SigninToken, false, nil
}
