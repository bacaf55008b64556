package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// STS's limits, from the AssumeRole reference.
const (
	stsMaxTags       = 50
	stsMaxPolicyARNs = 10
	stsMaxPolicy     = 2048 // characters, of the inline policy and the ARNs together
)

// STS's patterns, from the same place. They leave lengths to be checked apart,
// in characters, so that each failure is named.
var (
	stsName       = regexp.MustCompile(`^[\w+=,.@-]*$`)
	stsExternalID = regexp.MustCompile(`^[\w+=,.@:/-]*$`)
	stsTagText    = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	stsPolicyText = regexp.MustCompile(`^[\t\n\r\x20-\x{FF}]*$`)
	stsPolicyARN  = newAWSARN(`iam::(?:aws|[0-9]{12}):policy/[!-~]+`)
)

// stsAssumeRoleInput is what an AssumeRole call asks for.
type stsAssumeRoleInput struct {
	roleARN        string
	sessionName    string
	sourceIdentity string
	externalID     string
	policy         string
	policyARNs     []string
	tags           []stsTag
	duration       time.Duration
	minTokenSize   int

	given   url.Values // every parameter of the call
	unread  []string   // parameters that the sandbox does not implement, sorted
	invalid []string   // parameters that should be integers and are not
}

type stsTag struct{ key, value string }

// stsReadAssumeRole reads the form of an AssumeRole call. It judges nothing:
// that is check's part.
func stsReadAssumeRole(form url.Values) *stsAssumeRoleInput {
	left := maps.Clone(form)
	take := func(name string) string {
		v := form.Get(name)
		delete(left, name)
		return v
	}
	in := &stsAssumeRoleInput{given: form}
	number := func(name string, unset int) int {
		v := take(name)
		if v == "" {
			return unset
		}
		n, err := strconv.ParseInt(v, 10, 32) // STS's integers have 32 bits
		if err != nil {
			in.invalid = append(in.invalid, name)
		}
		return int(n)
	}
	for _, name := range []string{"Action", "Version", "Tags", "PolicyArns"} { // an empty list is sent as its bare name
		take(name)
	}
	in.roleARN = take("RoleArn")
	in.sessionName = take("RoleSessionName")
	in.sourceIdentity = take("SourceIdentity")
	in.externalID = take("ExternalId")
	in.policy = take("Policy")
	in.duration = time.Duration(number("DurationSeconds", int(awsDefaultSession/time.Second))) * time.Second
	in.minTokenSize = number("MinimumSessionTokenSize", 0)
	for i := 1; ; i++ {
		name := fmt.Sprintf("PolicyArns.member.%d.arn", i)
		if !form.Has(name) {
			break
		}
		in.policyARNs = append(in.policyARNs, take(name))
	}
	for i := 1; ; i++ {
		tag := fmt.Sprintf("Tags.member.%d.", i)
		if !form.Has(tag+"Key") && !form.Has(tag+"Value") {
			break
		}
		in.tags = append(in.tags, stsTag{take(tag + "Key"), take(tag + "Value")})
	}
	in.unread = slices.Sorted(maps.Keys(left))
	return in
}

// describe puts what was asked for into a record of the call.
func (in *stsAssumeRoleInput) describe(c *Call) {
	c.RoleARN, c.SessionName, c.SourceIdentity = in.roleARN, in.sessionName, in.sourceIdentity
	c.Duration, c.Policy, c.PolicyARNs = in.duration, in.policy, in.policyARNs
	if len(in.tags) > 0 {
		c.Tags = make(map[string]string)
	}
	for _, t := range in.tags {
		c.Tags[t.key] = t.value
	}
}

// check refuses what breaks STS's rules whoever asks.
func (in *stsAssumeRoleInput) check() *awsError {
	if len(in.unread) > 0 {
		return &awsError{http.StatusNotImplemented, "NotImplemented",
			"The sandbox does not implement these parameters of AssumeRole: " + strings.Join(in.unread, ", ")}
	}
	if len(in.invalid) > 0 {
		return &awsError{http.StatusBadRequest, "MalformedInput", "Not an integer: " + strings.Join(in.invalid, ", ")}
	}
	var f stsFailures
	f.length("roleArn", in.roleARN, 20, 2048)
	f.length("roleSessionName", in.sessionName, 2, 64)
	f.pattern("roleSessionName", in.sessionName, stsName)
	if in.given.Has("SourceIdentity") {
		f.length("sourceIdentity", in.sourceIdentity, 2, 64)
		f.pattern("sourceIdentity", in.sourceIdentity, stsName) // no colon, hence no "aws:"
	}
	if in.given.Has("ExternalId") {
		f.length("externalId", in.externalID, 2, 1224)
		f.pattern("externalId", in.externalID, stsExternalID)
	}
	f.within("durationSeconds", int(in.duration/time.Second), int(awsMinSession/time.Second), int(awsMaxSession/time.Second))
	f.within("minimumSessionTokenSize", in.minTokenSize, 0, awsMaxTokenSize)
	f.count("tags", len(in.tags), stsMaxTags)
	for i, t := range in.tags {
		f.length(fmt.Sprintf("tags.%d.member.key", i+1), t.key, 1, 128)
		f.pattern(fmt.Sprintf("tags.%d.member.key", i+1), t.key, stsTagText)
		f.length(fmt.Sprintf("tags.%d.member.value", i+1), t.value, 0, 256)
		f.pattern(fmt.Sprintf("tags.%d.member.value", i+1), t.value, stsTagText)
	}
	f.count("policyArns", len(in.policyARNs), stsMaxPolicyARNs)
	if in.given.Has("Policy") {
		f.pattern("policy", in.policy, stsPolicyText)
	}
	if refusal := f.refusal(); refusal != nil {
		return refusal
	}
	if awsRoleARN.find(in.roleARN) == nil {
		return stsValidationError(in.roleARN + " is invalid")
	}
	if refusal := stsCheckTagKeys(in.tags); refusal != nil {
		return refusal
	}
	return in.checkPolicies()
}

// stsCheckTagKeys refuses reserved keys, and keys that differ only in case:
// tags are not case sensitive.
func stsCheckTagKeys(tags []stsTag) *awsError {
	seen := make(map[string]bool)
	for _, t := range tags {
		key := strings.ToLower(t.key)
		if strings.HasPrefix(key, "aws:") {
			return stsValidationError("Tag keys beginning with aws: are reserved for system use: " + t.key)
		}
		if seen[key] {
			return &awsError{http.StatusBadRequest, "InvalidParameterValue",
				"Duplicate tag keys found. Please note that Tag keys are case insensitive."}
		}
		seen[key] = true
	}
	return nil
}

// stsFailures are the constraints that a call breaks, in STS's words.
type stsFailures []string

func (f *stsFailures) add(field, value, constraint string) {
	*f = append(*f, fmt.Sprintf("Value '%s' at '%s' failed to satisfy constraint: Member must %s", value, field, constraint))
}

func (f *stsFailures) length(field, value string, least, most int) {
	switch n := utf8.RuneCountInString(value); {
	case n < least:
		f.add(field, value, fmt.Sprintf("have length greater than or equal to %d", least))
	case n > most:
		f.add(field, value, fmt.Sprintf("have length less than or equal to %d", most))
	}
}

func (f *stsFailures) pattern(field, value string, p *regexp.Regexp) {
	if !p.MatchString(value) {
		f.add(field, value, "satisfy regular expression pattern: "+strings.Trim(p.String(), "^$"))
	}
}

func (f *stsFailures) within(field string, value, least, most int) {
	switch {
	case value < least:
		f.add(field, strconv.Itoa(value), fmt.Sprintf("have value greater than or equal to %d", least))
	case value > most:
		f.add(field, strconv.Itoa(value), fmt.Sprintf("have value less than or equal to %d", most))
	}
}

func (f *stsFailures) count(field string, n, most int) {
	if n > most {
		f.add(field, fmt.Sprintf("[%d members]", n), fmt.Sprintf("have length less than or equal to %d", most))
	}
}

// refusal is the ValidationError that lists the failures, or nil for none.
func (f stsFailures) refusal() *awsError {
	switch len(f) {
	case 0:
		return nil
	case 1:
		return stsValidationError("1 validation error detected: " + f[0])
	default:
		return stsValidationError(fmt.Sprintf("%d validation errors detected: %s", len(f), strings.Join(f, "; ")))
	}
}
