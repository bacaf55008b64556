package sandbox

import (
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// signinTokenLife is how long a sign-in token may be used, from the console's
// federation guide.
const signinTokenLife = 15 * time.Minute

// awsSignin is what a sign-in token stands for.
type awsSignin struct {
	key     *awsKey
	expires time.Time     // of the token
	session time.Duration // the SessionDuration asked for; zero means until the credentials end
}

// signinSession is the Session parameter: the credentials to sign in with.
type signinSession struct {
	ID    string `json:"sessionId"`
	Key   string `json:"sessionKey"`
	Token string `json:"sessionToken"`
}

func signinReadSession(form url.Values) (signinSession, error) {
	var s signinSession
	err := json.Unmarshal([]byte(form.Get("Session")), &s)
	return s, err
}

// signin answers a call of the sign-in endpoint. The caller holds a.mu.
func (a *AWS) signin(req *awsRequest) (awsAnswer, *awsError) {
	switch req.call.Action {
	case "getSigninToken":
		return a.signinToken(req)
	case "login":
		return a.login(req)
	default:
		return awsAnswer{}, signinRefusal("Invalid Action parameter")
	}
}

// signinToken gives a sign-in token for the credentials of a session.
func (a *AWS) signinToken(req *awsRequest) (awsAnswer, *awsError) {
	session, err := signinReadSession(req.form)
	if err != nil {
		return awsAnswer{}, signinRefusal("Invalid Session parameter")
	}
	key := a.keys[session.ID]
	if key == nil || !key.isRole() || key.secret != session.Key || key.token != session.Token || !req.now.Before(key.expires) {
		return awsAnswer{}, signinRefusal("Invalid credentials parameter")
	}

	var duration time.Duration
	if req.form.Has("SessionDuration") {
		seconds, err := strconv.ParseInt(req.form.Get("SessionDuration"), 10, 32)
		duration = time.Duration(seconds) * time.Second
		switch {
		case err != nil || duration < awsMinSession || duration > awsMaxSession:
			return awsAnswer{}, signinRefusal("Invalid SessionDuration parameter")
		case key.chained: // refused in these words, which do not say why
			return awsAnswer{}, signinRefusal("Invalid credentials parameter")
		}
	}
	// As long as the session token: a link grows with the token within it.
	token := Secret(len(key.token), a.rand)
	a.signins[token] = awsSignin{key: key, expires: req.now.Add(signinTokenLife), session: duration}
	return awsJSON(http.StatusOK, "application/json", map[string]string{"SigninToken": token}), nil
}

// login shows the page that a console would replace.
func (a *AWS) login(req *awsRequest) (awsAnswer, *awsError) {
	signin, ok := a.signins[req.form.Get("SigninToken")]
	if !ok || !req.now.Before(signin.expires) || !req.now.Before(signin.key.expires) {
		return awsAnswer{}, signinRefusal("Invalid or expired SigninToken parameter")
	}
	req.call.AccessKeyID = signin.key.id
	destination := req.form.Get("Destination")
	if !signinDestination(destination, signin.key.partition) {
		return awsAnswer{}, signinRefusal("Invalid Destination parameter")
	}
	until := signin.key.expires
	if signin.session > 0 {
		until = req.now.Add(signin.session)
	}
	return awsPage(http.StatusOK, awsLoginPage, struct {
		Session, Role, Account, Issuer, Destination, Until string
	}{
		Session:     signin.key.session,
		Role:        signin.key.role,
		Account:     signin.key.account,
		Issuer:      req.form.Get("Issuer"),
		Destination: destination,
		Until:       until.UTC().Format(time.RFC1123),
	}), nil
}

// signinDestination reports whether a URL is a page of the partition's console.
func signinDestination(destination, partition string) bool {
	u, err := url.Parse(destination)
	console := awsPartitions[partition]
	return err == nil && console != "" && u.Scheme == "https" && u.User == nil &&
		(u.Host == console || strings.HasSuffix(u.Host, "."+console))
}

func signinRefusal(message string) *awsError {
	return &awsError{http.StatusBadRequest, "BadRequest", message}
}

var awsLoginPage = template.Must(template.New("login").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Sandbox console</title>
<h1>This is the sandbox</h1>
<p>Nothing here is real: there is no account behind this page, and these credentials work nowhere else.</p>
<p>In the AWS console you would now be signed in:</p>
<dl>
<dt>Session</dt><dd>{{.Session}}</dd>
<dt>Role</dt><dd>{{.Role}}</dd>
<dt>Account</dt><dd>{{.Account}}</dd>
<dt>Until</dt><dd>{{.Until}}</dd>
<dt>Sent to</dt><dd>{{.Destination}}</dd>
{{with .Issuer}}<dt>To sign in again</dt><dd>{{.}}</dd>
{{end}}</dl>
</html>
`))

var awsErrorPage = template.Must(template.New("error").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Sandbox console</title>
<h1>Sign-in refused</h1>
<p>{{.}}</p>
<p>This is the sandbox's answer. The AWS console would refuse this too.</p>
</html>
`))
