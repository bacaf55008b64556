package sandbox

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"time"
)

type stsErrorResponse struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

type stsCallerIdentityResponse struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
	ARN       string   `xml:"GetCallerIdentityResult>Arn"`
	UserID    string   `xml:"GetCallerIdentityResult>UserId"`
	Account   string   `xml:"GetCallerIdentityResult>Account"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

type stsAssumeRoleResponse struct {
	XMLName   xml.Name            `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
	Result    stsAssumeRoleResult `xml:"AssumeRoleResult"`
	RequestID string              `xml:"ResponseMetadata>RequestId"`
}

type stsAssumeRoleResult struct {
	SourceIdentity   string `xml:"SourceIdentity,omitempty"`
	AssumedRoleID    string `xml:"AssumedRoleUser>AssumedRoleId"`
	ARN              string `xml:"AssumedRoleUser>Arn"`
	AccessKeyID      string `xml:"Credentials>AccessKeyId"`
	SecretAccessKey  string `xml:"Credentials>SecretAccessKey"`
	SessionToken     string `xml:"Credentials>SessionToken"`
	Expiration       string `xml:"Credentials>Expiration"`
	TokenSize        int    `xml:"SessionTokenSize"`
	TokenUtilization int    `xml:"SessionTokenUtilization"` // percent of awsMaxTokenSize
}

// sts answers a call of STS. The caller holds a.mu.
func (a *AWS) sts(req *awsRequest) (awsAnswer, *awsError) {
	caller, refusal := a.authenticate(req)
	if refusal != nil {
		return awsAnswer{}, refusal
	}
	switch req.call.Action {
	case "GetCallerIdentity":
		return awsXML(http.StatusOK, stsCallerIdentityResponse{
			ARN: caller.arn, UserID: caller.userID, Account: caller.account, RequestID: req.id,
		}), nil
	case "AssumeRole":
		return a.assumeRole(req, caller)
	default:
		return awsAnswer{}, &awsError{http.StatusBadRequest, "InvalidAction",
			"Could not find operation " + req.call.Action + " for version 2011-06-15"}
	}
}

// assumeRole checks what can be checked of the call alone, then who calls, and
// only then the role's own limits: a stranger learns nothing of a role.
func (a *AWS) assumeRole(req *awsRequest, caller *awsKey) (awsAnswer, *awsError) {
	in := stsReadAssumeRole(req.form)
	if refusal := in.check(); refusal != nil {
		return awsAnswer{}, refusal
	}
	sourceIdentity := caller.sourceIdentity
	if sourceIdentity == "" {
		sourceIdentity = in.sourceIdentity
	}

	// An absent role is refused in the same words as one that does not trust
	// the caller, and the words do not say what was missing.
	role := a.roles[in.roleARN]
	if role == nil || !role.trusts(caller) ||
		len(in.tags) > 0 && !role.Trust.TagSession ||
		sourceIdentity != "" && !role.Trust.SetSourceIdentity ||
		in.sourceIdentity != "" && in.sourceIdentity != sourceIdentity ||
		role.Trust.ExternalID != "" && in.externalID != role.Trust.ExternalID {
		return awsAnswer{}, &awsError{http.StatusForbidden, "AccessDenied",
			"User: " + caller.arn + " is not authorized to perform: sts:AssumeRole on resource: " + in.roleARN}
	}
	switch {
	case caller.isRole() && in.duration > awsMaxChained:
		return awsAnswer{}, stsValidationError("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	case in.duration > role.MaxSessionDuration:
		return awsAnswer{}, stsValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}

	session := a.newSession(role, in.sessionName, req.now.Add(in.duration), max(a.tokenSize, in.minTokenSize))
	session.sourceIdentity = sourceIdentity
	session.chained = caller.isRole()
	req.call.IssuedAccessKeyID, req.call.AssumedRoleID = session.id, session.userID
	return awsXML(http.StatusOK, stsAssumeRoleResponse{
		Result: stsAssumeRoleResult{
			SourceIdentity:   sourceIdentity,
			AssumedRoleID:    session.userID,
			ARN:              session.arn,
			AccessKeyID:      session.id,
			SecretAccessKey:  session.secret,
			SessionToken:     session.token,
			Expiration:       session.expires.UTC().Format(time.RFC3339),
			TokenSize:        len(session.token),
			TokenUtilization: len(session.token) * 100 / awsMaxTokenSize,
		},
		RequestID: req.id,
	}), nil
}

// trusts reports whether the trust policy names the caller, or its whole account.
func (r *awsRole) trusts(caller *awsKey) bool {
	return slices.ContainsFunc(r.Trust.Principals, func(p string) bool {
		return p == caller.principal || strings.HasSuffix(p, ":iam::"+caller.account+":root")
	})
}

func stsValidationError(message string) *awsError {
	return &awsError{http.StatusBadRequest, "ValidationError", message}
}
