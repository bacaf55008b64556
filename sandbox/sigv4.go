package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	sigv4Algorithm  = "AWS4-HMAC-SHA256"
	sigv4TimeFormat = "20060102T150405Z"

	// sigv4Skew is how far the time of a signature may be from the clock, as
	// STS's own message gives it.
	sigv4Skew = 15 * time.Minute
)

// sigv4AccessKeyID is what an access key id looks like. A [Marker] does not
// match it, so that a secret sent in its place is not recorded.
var sigv4AccessKeyID = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)

// sigv4Signature is an Authorization header of Signature Version 4.
type sigv4Signature struct {
	accessKeyID string
	date        string // of the scope, as 20060102
	region      string
	service     string
	headers     []string // those signed, lowercase, sorted
	signature   string   // lowercase hexadecimal
}

// sigv4Parse reads an Authorization header. It reports false if anything that a
// signature needs is absent or malformed.
func sigv4Parse(header string) (sigv4Signature, bool) {
	rest, ok := strings.CutPrefix(header, sigv4Algorithm+" ")
	if !ok {
		return sigv4Signature{}, false
	}
	fields := make(map[string]string)
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 5 || !sigv4AccessKeyID.MatchString(scope[0]) || scope[4] != "aws4_request" ||
		fields["SignedHeaders"] == "" || fields["Signature"] == "" {
		return sigv4Signature{}, false
	}
	return sigv4Signature{
		accessKeyID: scope[0],
		date:        scope[1],
		region:      scope[2],
		service:     scope[3],
		headers:     strings.Split(fields["SignedHeaders"], ";"),
		signature:   fields["Signature"],
	}, true
}

// authenticate returns the key that signed the call. The refusals are STS's. It
// must be called with a.mu held.
func (a *AWS) authenticate(req *awsRequest) (*awsKey, *awsError) {
	r := req.http
	if r.Header.Get("Authorization") == "" {
		return nil, &awsError{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	}
	s, ok := sigv4Parse(r.Header.Get("Authorization"))
	if !ok {
		return nil, &awsError{http.StatusBadRequest, "IncompleteSignature",
			"Authorization header requires existence of 'Credential', 'SignedHeaders' and 'Signature' parameters of " + sigv4Algorithm + "."}
	}
	key := a.keys[s.accessKeyID]
	if key == nil || r.Header.Get("X-Amz-Security-Token") != key.token {
		return nil, &awsError{http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid."}
	}
	if problem := s.verify(key.secret, req); problem != "" {
		return nil, &awsError{http.StatusForbidden, "SignatureDoesNotMatch", problem}
	}
	if key.isRole() && !req.now.Before(key.expires) {
		return nil, &awsError{http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired"}
	}
	return key, nil
}

// verify says what is wrong with a signature, or nothing. Any Region is
// accepted in its scope; the service must be the one called.
func (s sigv4Signature) verify(secret string, req *awsRequest) string {
	stamp := req.http.Header.Get("X-Amz-Date")
	signed, err := time.Parse(sigv4TimeFormat, stamp)
	now := req.now.UTC()
	switch {
	case err != nil:
		return "Date must be in ISO-8601 'basic format'. Got '" + stamp + "'."
	case signed.Before(now.Add(-sigv4Skew)):
		return "Signature expired: " + stamp + " is now earlier than " + now.Add(-sigv4Skew).Format(sigv4TimeFormat) +
			" (" + now.Format(sigv4TimeFormat) + " - 15 min.)"
	case signed.After(now.Add(sigv4Skew)):
		return "Signature not yet current: " + stamp + " is still later than " + now.Add(sigv4Skew).Format(sigv4TimeFormat) +
			" (" + now.Format(sigv4TimeFormat) + " + 15 min.)"
	case s.service != req.call.Service:
		return "Credential should be scoped to correct service: '" + req.call.Service + "'."
	}
	if name := s.unsigned(req.http.Header); name != "" {
		return "'" + name + "' must be a 'SignedHeader' in the AWS Authorization."
	}
	if !hmac.Equal([]byte(s.signature), []byte(s.compute(secret, stamp, req))) {
		return "The request signature we calculated does not match the signature you provided." +
			" Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	}
	return ""
}

// unsigned names a header that a signature must cover and this one does not:
// the host, and every x-amz- header there is. It is empty if there is none.
func (s sigv4Signature) unsigned(header http.Header) string {
	required := []string{"host"}
	for name := range header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			required = append(required, name)
		}
	}
	for _, name := range required {
		if !slices.Contains(s.headers, name) {
			return name
		}
	}
	return ""
}

// compute signs the request as its caller should have.
func (s sigv4Signature) compute(secret, stamp string, req *awsRequest) string {
	var headers strings.Builder
	for _, name := range s.headers {
		headers.WriteString(name + ":" + sigv4Header(req.http, name) + "\n")
	}
	canonical := strings.Join([]string{
		req.http.Method,
		"/", // the only path that takes signed calls
		sigv4Query(req.http.URL.Query()),
		headers.String(),
		strings.Join(s.headers, ";"),
		sigv4Hash(req.body),
	}, "\n")
	scope := []string{s.date, s.region, s.service, "aws4_request"}
	toSign := strings.Join([]string{
		sigv4Algorithm,
		stamp,
		strings.Join(scope, "/"),
		sigv4Hash([]byte(canonical)),
	}, "\n")

	key := []byte("AWS4" + secret)
	for _, part := range scope {
		key = sigv4MAC(key, part)
	}
	return hex.EncodeToString(sigv4MAC(key, toSign))
}

// sigv4Header is a header's canonical value. The server keeps Host apart from
// the other headers.
func sigv4Header(r *http.Request, name string) string {
	if name == "host" {
		return r.Host
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

// sigv4Query is a query in canonical form: sorted, and spaces as %20.
func sigv4Query(query url.Values) string {
	for _, values := range query {
		slices.Sort(values)
	}
	return strings.ReplaceAll(query.Encode(), "+", "%20")
}

func sigv4Hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func sigv4MAC(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}
