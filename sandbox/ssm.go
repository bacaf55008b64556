package sandbox

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

const (
	ssmContentType = "application/x-amz-json-1.1"
	ssmMaxValue    = 4096 // bytes of a standard parameter's value
	ssmMaxNames    = 10   // names in one GetParameters
)

var ssmName = regexp.MustCompile(`^(?:[a-zA-Z0-9_.-]+|(?:/[a-zA-Z0-9_.-]+)+)$`)

// ssmAuthErrors are the codes by which a JSON service names the refusals that
// authenticate words as STS does. Their status is 400.
var ssmAuthErrors = map[string]string{
	"MissingAuthenticationToken": "MissingAuthenticationTokenException",
	"IncompleteSignature":        "IncompleteSignatureException",
	"InvalidClientTokenId":       "UnrecognizedClientException",
	"SignatureDoesNotMatch":      "InvalidSignatureException",
	"ExpiredToken":               "ExpiredTokenException",
}

// ssmParameter is a parameter's latest version.
type ssmParameter struct {
	kind       string // String, StringList or SecureString
	value      string
	ciphertext string // what a reader without WithDecryption sees of a SecureString
	version    int64
	modified   time.Time
}

// ssmInput holds the members of all three actions: each action has its own.
type ssmInput struct {
	Name           string
	Names          []string
	WithDecryption bool
	Value          string
	Type           string
	Overwrite      bool
	Description    string // accepted, and not kept
	KeyID          string // accepted, and not kept: there are no KMS keys

	now    time.Time
	prefix string // of the ARNs of the caller's parameters
}

// ssmActions are the actions there are, by name. Each is called with a.mu held.
var ssmActions = map[string]func(*AWS, ssmInput) (map[string]any, *awsError){
	"GetParameter":  (*AWS).getParameter,
	"GetParameters": (*AWS).getParameters,
	"PutParameter":  (*AWS).putParameter,
}

// ssmOutput is a parameter in an answer.
type ssmOutput struct {
	ARN              string
	DataType         string
	LastModifiedDate float64 // seconds since 1970
	Name             string
	Type             string
	Value            string
	Version          int64
}

// PutParameter creates a parameter or replaces its value. One that is secure is
// a SecureString, whose value only a reader with WithDecryption gets. It panics
// if the name or the size of the value (4,096 bytes for a standard parameter)
// is not one that Systems Manager would accept.
func (a *AWS) PutParameter(name, value string, secure bool) {
	kind := "String"
	if secure {
		kind = "SecureString"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	in := ssmInput{Name: name, Value: value, Type: kind, Overwrite: true, now: a.now()}
	if _, refusal := a.putParameter(in); refusal != nil {
		panic("sandbox: parameter " + name + ": " + refusal.message)
	}
}

// ssm answers a call of Systems Manager. The caller holds a.mu.
func (a *AWS) ssm(req *awsRequest) (awsAnswer, *awsError) {
	caller, refusal := a.authenticate(req)
	if refusal != nil {
		return awsAnswer{}, &awsError{http.StatusBadRequest, ssmAuthErrors[refusal.code], refusal.message}
	}
	action, ok := ssmActions[req.call.Action]
	if !ok {
		return awsAnswer{}, &awsError{http.StatusBadRequest, "UnknownOperationException", ""}
	}
	signed, _ := sigv4Parse(req.http.Header.Get("Authorization")) // authenticate has read it
	in := ssmInput{now: req.now, prefix: "arn:aws:ssm:" + signed.region + ":" + caller.account + ":parameter/"}
	d := json.NewDecoder(bytes.NewReader(req.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return awsAnswer{}, &awsError{http.StatusBadRequest, "SerializationException", "The sandbox cannot read this: " + err.Error()}
	}
	out, refusal := action(a, in)
	if refusal != nil {
		return awsAnswer{}, refusal
	}
	return awsJSON(http.StatusOK, ssmContentType, out), nil
}

func (a *AWS) getParameter(in ssmInput) (map[string]any, *awsError) {
	if refusal := ssmCheckName(in.Name); refusal != nil {
		return nil, refusal
	}
	p, ok := a.params[in.Name]
	if !ok {
		return nil, &awsError{http.StatusBadRequest, "ParameterNotFound", ""}
	}
	return map[string]any{"Parameter": p.output(in, in.Name)}, nil
}

func (a *AWS) getParameters(in ssmInput) (map[string]any, *awsError) {
	if len(in.Names) == 0 || len(in.Names) > ssmMaxNames {
		return nil, ssmValidation(fmt.Sprintf("1 validation error detected: Value at 'names' failed to satisfy constraint:"+
			" Member must have length between 1 and %d", ssmMaxNames))
	}
	found, missing := []ssmOutput{}, []string{}
	for _, name := range in.Names {
		if refusal := ssmCheckName(name); refusal != nil {
			return nil, refusal
		}
		if p, ok := a.params[name]; ok {
			found = append(found, p.output(in, name))
		} else {
			missing = append(missing, name)
		}
	}
	return map[string]any{"Parameters": found, "InvalidParameters": missing}, nil
}

func (a *AWS) putParameter(in ssmInput) (map[string]any, *awsError) {
	old, exists := a.params[in.Name]
	kind := in.Type
	if kind == "" {
		kind = old.kind // an overwrite may leave it out
	}
	if refusal := ssmCheckName(in.Name); refusal != nil {
		return nil, refusal
	}
	switch {
	case exists && !in.Overwrite:
		return nil, &awsError{http.StatusBadRequest, "ParameterAlreadyExists",
			"The parameter already exists. To overwrite this value, set the overwrite option in the request to true."}
	case kind != "String" && kind != "StringList" && kind != "SecureString":
		return nil, ssmValidation("A parameter type is required when you create a parameter.")
	case in.Value == "":
		return nil, ssmValidation("1 validation error detected: Value '' at 'value' failed to satisfy constraint:" +
			" Member must have length greater than or equal to 1.")
	case len(in.Value) > ssmMaxValue:
		return nil, ssmValidation(fmt.Sprintf("Standard tier parameters support a maximum parameter value of %d characters."+
			" To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier.", ssmMaxValue))
	}
	a.params[in.Name] = ssmParameter{
		kind:       kind,
		value:      in.Value,
		ciphertext: "AQICAH" + base64.StdEncoding.EncodeToString(awsRandom(48, a.rand)), // as what KMS encrypts begins
		version:    old.version + 1,
		modified:   in.now,
	}
	return map[string]any{"Version": old.version + 1, "Tier": "Standard"}, nil
}

// output is the parameter of that name as the reader who sent in sees it.
func (p ssmParameter) output(in ssmInput, name string) ssmOutput {
	value := p.value
	if p.kind == "SecureString" && !in.WithDecryption {
		value = p.ciphertext
	}
	return ssmOutput{
		ARN:              in.prefix + strings.TrimPrefix(name, "/"),
		DataType:         "text",
		LastModifiedDate: float64(p.modified.UnixMilli()) / 1000,
		Name:             name,
		Type:             p.kind,
		Value:            value,
		Version:          p.version,
	}
}

func ssmCheckName(name string) *awsError {
	if ssmName.MatchString(name) {
		return nil
	}
	return ssmValidation("Parameter name: only a mix of letters, numbers and the following 3 symbols .-_ is allowed" +
		" between slashes, and a name with a slash must begin with one.")
}

func ssmValidation(message string) *awsError {
	return &awsError{http.StatusBadRequest, "ValidationException", message}
}
