package sandbox

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// iamAPI is the version of IAM's protocol. STS has another, by which calls of
// the two are told apart.
const iamAPI = "2010-05-08"

// iamMaxVersions is how many versions a managed policy can have. Source: the
// IAM and STS quotas.
const iamMaxVersions = 5

var (
	iamPolicyARN = newAWSARN(`iam::[0-9]{12}:policy/(?:[!-~]+/)?[\w+=,.@-]{1,128}`)
	iamVersionID = regexp.MustCompile(`^v[1-9][0-9]*$`)
)

// iamPolicy is a managed policy.
type iamPolicy struct {
	versions []*iamVersion // oldest first; one is the default
	made     int           // versions ever: their numbers are not used again
}

type iamVersion struct {
	id         string
	document   string
	statements []iamStatement
	created    time.Time
	isDefault  bool
}

// AddPolicy adds a managed policy, whose version v1 is the document. It panics
// if the ARN or the document is not one that IAM would accept, or if the policy
// exists.
func (a *AWS) AddPolicy(arn, document string) {
	if iamPolicyARN.find(arn) == nil {
		panic(fmt.Sprintf("sandbox: %q is not the ARN of a managed policy", arn))
	}
	statements, refusal := iamParse(document)
	if refusal != nil {
		panic(fmt.Sprintf("sandbox: policy %s: %s: %s", arn, refusal.code, refusal.message))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.policies[arn] != nil {
		panic("sandbox: policy already exists: " + arn)
	}
	p := &iamPolicy{}
	p.add(&iamVersion{document: document, statements: statements, created: a.now()}, true)
	a.policies[arn] = p
}

// add adds a version and numbers it.
func (p *iamPolicy) add(v *iamVersion, makeDefault bool) {
	p.made++
	v.id = fmt.Sprintf("v%d", p.made)
	p.versions = append(p.versions, v)
	if makeDefault {
		p.enforce(v)
	}
}

// enforce makes a version the default.
func (p *iamPolicy) enforce(v *iamVersion) {
	for _, other := range p.versions {
		other.isDefault = other == v
	}
}

// inForce is the version that is evaluated.
func (p *iamPolicy) inForce() *iamVersion {
	return p.versions[slices.IndexFunc(p.versions, func(v *iamVersion) bool { return v.isDefault })]
}

// version returns the index of a version, or refuses.
func (p *iamPolicy) version(arn, id string) (int, *awsError) {
	if !iamVersionID.MatchString(id) {
		return 0, stsValidationError("Value '" + id + "' at 'versionId' failed to satisfy constraint: Member must satisfy regular expression pattern: v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?")
	}
	i := slices.IndexFunc(p.versions, func(v *iamVersion) bool { return v.id == id })
	if i < 0 {
		return 0, iamNoSuchEntity("Policy " + arn + " version " + id + " does not exist or is not attachable.")
	}
	return i, nil
}

// iamParameters are those of the actions that the sandbox implements. All but
// SetAsDefault must be given.
var iamParameters = map[string][]string{
	"CreatePolicyVersion":           {"PolicyArn", "PolicyDocument", "SetAsDefault"},
	"DeletePolicyVersion":           {"PolicyArn", "VersionId"},
	"DeleteRolePermissionsBoundary": {"RoleName"},
	"GetPolicyVersion":              {"PolicyArn", "VersionId"},
	"GetRole":                       {"RoleName"},
	"ListAccountAliases":            {},
	"ListPolicyVersions":            {"PolicyArn"},
	"PutRolePermissionsBoundary":    {"RoleName", "PermissionsBoundary"},
	"SetDefaultPolicyVersion":       {"PolicyArn", "VersionId"},
}

// iam answers a call of IAM. The caller holds a.mu. As at AWS, who may not do
// something does not learn whether there is anything to do it to.
func (a *AWS) iam(req *awsRequest) (awsAnswer, *awsError) {
	caller, refusal := a.authenticate(req)
	if refusal != nil {
		return awsAnswer{}, refusal
	}
	action := req.call.Action
	if refusal := iamCheckParameters(action, req.form); refusal != nil {
		return awsAnswer{}, refusal
	}
	arn := req.form.Get("PolicyArn")
	role := a.roleNamed(caller.account, req.form.Get("RoleName"))
	resource := "*"
	switch {
	case arn != "":
		resource = arn
	case role != nil:
		resource = role.ARN
	case req.form.Has("RoleName"):
		partition, _, _ := strings.Cut(caller.principal, ":iam::")
		resource = partition + ":iam::" + caller.account + ":role/" + req.form.Get("RoleName")
	}
	if !a.may(caller, "iam:"+action, resource) {
		return awsAnswer{}, &awsError{http.StatusForbidden, "AccessDenied",
			"User: " + caller.arn + " is not authorized to perform: iam:" + action + " on resource: " + resource}
	}
	switch action {
	case "ListAccountAliases":
		return awsXML(http.StatusOK, iamAliasesResponse{RequestID: req.id}), nil
	case "GetRole":
		return iamGetRole(req, role)
	case "DeleteRolePermissionsBoundary", "PutRolePermissionsBoundary":
		return a.setBoundary(req, role)
	}
	policy := a.policies[arn]
	if policy == nil {
		return awsAnswer{}, iamNoSuchEntity("Policy " + arn + " does not exist or is not attachable.")
	}
	switch action {
	case "CreatePolicyVersion":
		return policy.create(req)
	case "DeletePolicyVersion":
		return policy.delete(req)
	case "SetDefaultPolicyVersion":
		return policy.setDefault(req)
	case "GetPolicyVersion":
		return policy.get(req)
	default:
		return policy.list(req), nil
	}
}

func iamCheckParameters(action string, form url.Values) *awsError {
	parameters, ok := iamParameters[action]
	if !ok {
		return &awsError{http.StatusBadRequest, "InvalidAction", "Could not find operation " + action + " for version " + iamAPI}
	}
	for name := range form {
		if name != "Action" && name != "Version" && !slices.Contains(parameters, name) {
			return iamNotImplemented("the parameter " + name + " of " + action)
		}
	}
	for _, name := range parameters {
		if name != "SetAsDefault" && form.Get(name) == "" {
			return stsValidationError("1 validation error detected: Value at '" + name + "' failed to satisfy constraint: Member must not be null")
		}
	}
	return nil
}

// roleNamed finds a role by its name, which is unique in its account whatever
// its path. The caller holds a.mu.
func (a *AWS) roleNamed(account, name string) *awsRole {
	for _, r := range a.roles {
		if r.account == account && r.name == name {
			return r
		}
	}
	return nil
}

// may reports whether a caller may do something in IAM: its role's permissions
// allow it, and so does the role's boundary, if it has one. Users may nothing,
// and nobody reaches into another account. The caller holds a.mu.
func (a *AWS) may(caller *awsKey, action, resource string) bool {
	role := a.roles[caller.principal]
	if role == nil || resource != "*" && !strings.Contains(resource, ":iam::"+caller.account+":") {
		return false
	}
	call := iamCall{caller.userID, action, resource}
	return iamAllows(role.permissions, call) &&
		(role.Boundary == "" || iamAllows(a.policies[role.Boundary].inForce().statements, call))
}

func (p *iamPolicy) create(req *awsRequest) (awsAnswer, *awsError) {
	document := req.form.Get("PolicyDocument")
	statements, refusal := iamParse(document)
	if refusal != nil {
		return awsAnswer{}, refusal
	}
	if len(p.versions) >= iamMaxVersions {
		return awsAnswer{}, iamLimitExceeded(fmt.Sprintf("A managed policy can have up to %d versions."+
			" Before you create a new version, you must delete an existing version.", iamMaxVersions))
	}
	v := &iamVersion{document: document, statements: statements, created: req.now}
	p.add(v, req.form.Get("SetAsDefault") == "true")
	return awsXML(http.StatusOK, iamCreateVersionResponse{Version: v.describe(), RequestID: req.id}), nil
}

func (p *iamPolicy) delete(req *awsRequest) (awsAnswer, *awsError) {
	i, refusal := p.version(req.form.Get("PolicyArn"), req.form.Get("VersionId"))
	if refusal != nil {
		return awsAnswer{}, refusal
	}
	if p.versions[i].isDefault {
		return awsAnswer{}, &awsError{http.StatusConflict, "DeleteConflict", "Cannot delete the default version of a policy."}
	}
	p.versions = slices.Delete(p.versions, i, i+1)
	return iamDone(req), nil
}

func (p *iamPolicy) setDefault(req *awsRequest) (awsAnswer, *awsError) {
	i, refusal := p.version(req.form.Get("PolicyArn"), req.form.Get("VersionId"))
	if refusal != nil {
		return awsAnswer{}, refusal
	}
	p.enforce(p.versions[i])
	return iamDone(req), nil
}

func (p *iamPolicy) get(req *awsRequest) (awsAnswer, *awsError) {
	i, refusal := p.version(req.form.Get("PolicyArn"), req.form.Get("VersionId"))
	if refusal != nil {
		return awsAnswer{}, refusal
	}
	described := p.versions[i].describe()
	described.Document = strings.ReplaceAll(url.QueryEscape(p.versions[i].document), "+", "%20") // as in RFC 3986
	return awsXML(http.StatusOK, iamGetVersionResponse{Version: described, RequestID: req.id}), nil
}

// list describes the versions, newest first.
func (p *iamPolicy) list(req *awsRequest) awsAnswer {
	answer := iamListVersionsResponse{RequestID: req.id}
	for _, v := range slices.Backward(p.versions) {
		answer.Versions = append(answer.Versions, v.describe())
	}
	return awsXML(http.StatusOK, answer)
}

// describe says everything of the version but its document.
func (v *iamVersion) describe() iamVersionXML {
	return iamVersionXML{ID: v.id, IsDefault: v.isDefault, Created: v.created.UTC().Format(time.RFC3339)}
}

func iamGetRole(req *awsRequest, role *awsRole) (awsAnswer, *awsError) {
	if role == nil {
		return awsAnswer{}, iamNoSuchEntity("The role with name " + req.form.Get("RoleName") + " cannot be found.")
	}
	answer := iamGetRoleResponse{RequestID: req.id, Role: iamRoleXML{
		Path:               strings.TrimSuffix(role.ARN[strings.Index(role.ARN, ":role/")+len(":role"):], role.name),
		Name:               role.name,
		ID:                 role.id,
		ARN:                role.ARN,
		MaxSessionDuration: int(role.MaxSessionDuration / time.Second),
	}}
	if role.Boundary != "" {
		answer.Role.Boundary = &iamBoundaryXML{Type: "PermissionsBoundaryPolicy", ARN: role.Boundary}
	}
	return awsXML(http.StatusOK, answer), nil
}

// setBoundary gives a role the boundary that the call names, or none. The caller
// holds a.mu.
func (a *AWS) setBoundary(req *awsRequest, role *awsRole) (awsAnswer, *awsError) {
	if role == nil {
		return awsAnswer{}, iamNoSuchEntity("The role with name " + req.form.Get("RoleName") + " cannot be found.")
	}
	boundary := req.form.Get("PermissionsBoundary")
	if boundary != "" && a.policies[boundary] == nil {
		return awsAnswer{}, iamNoSuchEntity("Scope ARN: " + boundary + " does not exist or is not attachable.")
	}
	role.Boundary = boundary
	return iamDone(req), nil
}

func iamNoSuchEntity(message string) *awsError {
	return &awsError{http.StatusNotFound, "NoSuchEntity", message}
}

type iamErrorResponse struct {
	XMLName   xml.Name `xml:"https://iam.amazonaws.com/doc/2010-05-08/ ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

type iamVersionXML struct {
	ID        string `xml:"VersionId"`
	IsDefault bool   `xml:"IsDefaultVersion"`
	Created   string `xml:"CreateDate"`
	Document  string `xml:"Document,omitempty"`
}

type iamCreateVersionResponse struct {
	XMLName   xml.Name      `xml:"https://iam.amazonaws.com/doc/2010-05-08/ CreatePolicyVersionResponse"`
	Version   iamVersionXML `xml:"CreatePolicyVersionResult>PolicyVersion"`
	RequestID string        `xml:"ResponseMetadata>RequestId"`
}

type iamGetVersionResponse struct {
	XMLName   xml.Name      `xml:"https://iam.amazonaws.com/doc/2010-05-08/ GetPolicyVersionResponse"`
	Version   iamVersionXML `xml:"GetPolicyVersionResult>PolicyVersion"`
	RequestID string        `xml:"ResponseMetadata>RequestId"`
}

type iamListVersionsResponse struct {
	XMLName     xml.Name        `xml:"https://iam.amazonaws.com/doc/2010-05-08/ ListPolicyVersionsResponse"`
	Versions    []iamVersionXML `xml:"ListPolicyVersionsResult>Versions>member"`
	IsTruncated bool            `xml:"ListPolicyVersionsResult>IsTruncated"`
	RequestID   string          `xml:"ResponseMetadata>RequestId"`
}

// iamDoneResponse is the answer of what returns nothing.
type iamDoneResponse struct {
	XMLName   xml.Name
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

func iamDone(req *awsRequest) awsAnswer {
	name := xml.Name{Space: "https://iam.amazonaws.com/doc/" + iamAPI + "/", Local: req.call.Action + "Response"}
	return awsXML(http.StatusOK, iamDoneResponse{XMLName: name, RequestID: req.id})
}

type iamGetRoleResponse struct {
	XMLName   xml.Name   `xml:"https://iam.amazonaws.com/doc/2010-05-08/ GetRoleResponse"`
	Role      iamRoleXML `xml:"GetRoleResult>Role"`
	RequestID string     `xml:"ResponseMetadata>RequestId"`
}

type iamRoleXML struct {
	Path               string          `xml:"Path"`
	Name               string          `xml:"RoleName"`
	ID                 string          `xml:"RoleId"`
	ARN                string          `xml:"Arn"`
	MaxSessionDuration int             `xml:"MaxSessionDuration"`
	Boundary           *iamBoundaryXML `xml:"PermissionsBoundary"`
}

type iamBoundaryXML struct {
	Type string `xml:"PermissionsBoundaryType"`
	ARN  string `xml:"PermissionsBoundaryArn"`
}

type iamAliasesResponse struct {
	XMLName     xml.Name `xml:"https://iam.amazonaws.com/doc/2010-05-08/ ListAccountAliasesResponse"`
	Aliases     []string `xml:"ListAccountAliasesResult>AccountAliases>member"`
	IsTruncated bool     `xml:"ListAccountAliasesResult>IsTruncated"`
	RequestID   string   `xml:"ResponseMetadata>RequestId"`
}
