package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/starback/starback/broker/policy"
)

// minMaxSession is the least that IAM takes as a role's MaxSessionDuration,
// which is in seconds. Source: the CreateRole reference.
const minMaxSession = time.Hour

// TemplateOptions are what the policy does not say of an IAM role.
type TemplateOptions struct {
	// Trust lists the ARNs of the IAM users and roles that Starback acts as.
	// There is at least one, of the role's partition.
	Trust []string
	// Permissions, an IAM policy document, and PermissionARNs, of managed
	// policies, are what the IAM role may do. Where either is given, what the
	// Roles say of it does not count.
	Permissions    string
	PermissionARNs []string
	// NoBoundary leaves the permissions boundary out. No session of the IAM
	// role can then be ended early.
	NoBoundary bool
}

// ErrNoPermissions says that neither the Roles nor the options tell what the
// IAM role may do.
var ErrNoPermissions = errors.New("nothing says what the IAM role may do: give the role `permissions` or `permission_arns` in the policy file")

// RoleTemplate returns the CloudFormation template, in YAML, that makes the IAM
// role that roles stand for. These are all Roles of one IAM role, or of roles
// with the same path and name in several accounts. The order of roles does not
// matter: the same Roles and options always give the same template.
//
// The IAM role's trust policy lets in what Starback's own calls are like and
// nothing else, and its sessions last as long as the longest of the Roles'.
// Roles that contradict each other, a role without permissions, and options
// that make no sense are refused, in words for whoever wrote them.
func RoleTemplate(roles []*policy.Role, o TemplateOptions) ([]byte, error) {
	if len(roles) == 0 {
		return nil, errors.New("there is no role to render")
	}
	roles = slices.SortedFunc(slices.Values(roles), func(a, b *policy.Role) int { return strings.Compare(string(a.Name), string(b.Name)) })
	target, err := sameTarget(roles)
	if err != nil {
		return nil, err
	}
	trust, err := trustPolicy(roles, target.partition, o.Trust)
	if err != nil {
		return nil, err
	}
	may, err := permissionsOf(roles, target.partition, o)
	if err != nil {
		return nil, err
	}
	longest := minMaxSession
	for _, r := range roles {
		longest = max(longest, r.MaxDuration)
	}
	var b bytes.Buffer
	err = roleTemplate.Execute(&b, map[string]any{
		"KeepVersions": keepVersions, "KeepBoundaries": keepBoundaries,
		"Roles": namesOf(roles), "Target": target, "Seconds": int(longest / time.Second), "Boundary": !o.NoBoundary,
		"Trust": trust, "Permissions": may.document, "PermissionARNs": may.arns,
	})
	if err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// sameTarget returns the IAM role that all Roles stand for, by path and name.
func sameTarget(roles []*policy.Role) (identity, error) {
	var target identity
	for _, r := range roles {
		id, ok := parseIdentity(r.ARN)
		switch {
		case !ok || id.kind != "role":
			return identity{}, fmt.Errorf("%s: %q is not the ARN of an IAM role", r.Name, r.ARN)
		case target == identity{}:
			target = id
		case id.partition != target.partition, id.Path != target.Path, id.Name != target.Name:
			return identity{}, fmt.Errorf("%s and %s are IAM roles of different names or partitions: render them one by one", roles[0].Name, r.Name)
		}
	}
	return target, nil
}

// Permissions are what an IAM role may do.
type permissions struct {
	document string // JSON; may be empty
	arns     []string
}

// permissionsOf returns what the options give, or else what the Roles say.
// They are one IAM role, so they say it in one place or say the same: more than
// any of them says is never given.
func permissionsOf(roles []*policy.Role, partition string, o TemplateOptions) (permissions, error) {
	found := permissions{o.Permissions, sortedSet(o.PermissionARNs)}
	if found.empty() {
		var by policy.RoleName
		for _, r := range roles {
			said := permissions{r.Permissions, sortedSet(r.PermissionARNs)}
			switch {
			case said.empty():
			case found.empty():
				found, by = said, r.Name
			case said.document != found.document || !slices.Equal(said.arns, found.arns):
				return permissions{}, fmt.Errorf("%s and %s are one IAM role but differ in `permissions` or `permission_arns`: let one of them say what it may do", by, r.Name)
			}
		}
	}
	if found.empty() {
		return permissions{}, fmt.Errorf("%s: %w", roles[0].Name, ErrNoPermissions)
	}
	for _, arn := range found.arns {
		if parts := managedPolicyARN().FindStringSubmatch(arn); parts == nil || parts[1] != partition {
			return permissions{}, fmt.Errorf("%q is not the ARN of a managed policy in the partition %s", arn, partition)
		}
	}
	if found.document != "" {
		if err := CheckPermissions([]byte(found.document)); err != nil {
			return permissions{}, fmt.Errorf("the permissions: %w", err)
		}
	}
	return found, nil
}

func (p permissions) empty() bool { return p.document == "" && len(p.arns) == 0 }

// CheckPermissions refuses what can't be an IAM policy document in a template,
// and leaves the rest to IAM. Escapes are refused because YAML does not know
// all of JSON's.
func CheckPermissions(document []byte) error {
	var top struct {
		Version   string
		Statement json.RawMessage
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, document)
	if err == nil {
		err = json.Unmarshal(compact.Bytes(), &top)
	}
	if err != nil {
		return fmt.Errorf("not an IAM policy document: %w", err)
	}
	for _, escape := range jsonEscape().FindAllString(compact.String(), -1) {
		if escape != `\\` && escape != `\"` {
			return fmt.Errorf("the escape %s: write the character itself", escape)
		}
	}
	switch size := utf8.RuneCount(compact.Bytes()); {
	case top.Version != "2012-10-17" && top.Version != "2008-10-17":
		return errors.New(`the document's "Version" is not "2012-10-17"`)
	case len(top.Statement) == 0:
		return errors.New(`the document has no "Statement"`)
	case size > policy.MaxPermissionsSize:
		return fmt.Errorf("%d characters without white space, and AWS takes %d", size, policy.MaxPermissionsSize)
	case bytes.ContainsFunc(compact.Bytes(), func(r rune) bool { return r > unicode.MaxLatin1 || unicode.IsControl(r) }):
		return errors.New("AWS takes no control characters there, and none beyond U+00FF")
	}
	return nil
}

var (
	managedPolicyARN = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^arn:(aws(?:-[a-z]+)*):iam::(?:[0-9]{12}|aws):policy(?:/[\w+=,.@-]+)+$`)
	})
	jsonEscape = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\\.`) })
)

// sortedSet returns list sorted and without repetitions; nil if it is empty.
func sortedSet(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// indent returns a JSON document on several lines, with prefix before each but
// the first.
func indent(document, prefix string) (string, error) {
	var b bytes.Buffer
	err := json.Indent(&b, bytes.TrimSpace([]byte(document)), prefix, "  ")
	return b.String(), err
}

// jsonText writes a list as JSON, on one line.
func jsonText(list values) (string, error) {
	text, err := json.Marshal(list)
	return string(bytes.ReplaceAll(text, []byte(`","`), []byte(`", "`))), err
}

// namesOf returns the names of roles.
func namesOf(roles []*policy.Role) []string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r.Name))
	}
	return names
}

// roleTemplate is the template without what differs from role to role. IAM's
// documents stay JSON, which YAML includes: there, text can't be mistaken for a
// number, a date or a boolean.
//
// The boundary's name, path and description must stay as they are. AWS makes a
// new policy when one of them changes, and CloudFormation refuses to while the
// name is taken.
var roleTemplate = template.Must(template.New("role").Funcs(template.FuncMap{"text": strconv.Quote, "join": strings.Join, "indent": indent, "json": jsonText}).Parse(
	`# The IAM role behind {{join .Roles ", "}}. Made by: starback role render
AWSTemplateFormatVersion: "2010-09-09"
Description: An IAM role that is requested through Starback.
Resources:
{{- if .Boundary}}
  # The most that any session of the role may do: anything but to change
  # boundaries. Starback ends a session with a newer version of this policy, so
  # IAM may hold more than is written here. It goes with the role: what it
  # denies, it denies to the role's sessions.
  Boundary:
    Type: AWS::IAM::ManagedPolicy
    DeletionPolicy: Delete
    UpdateReplacePolicy: Delete
    Properties:
      ManagedPolicyName: {{text .Target.BoundaryName}}
      Path: ` + boundaryPath + `
      Description: Permissions boundary. Starback publishes versions of it that deny sessions which were ended.
      PolicyDocument:
        {
          "Version": "2012-10-17",
          "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {
              "Effect": "Deny",
              "Action": {{json .KeepVersions}},
              "Resource": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy` + boundaryPath + `*"}
            },
            {"Effect": "Deny", "Action": {{json .KeepBoundaries}}, "Resource": "*"}
          ]
        }
{{- end}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: {{text .Target.Name}}
      Path: {{text .Target.Path}}
      Description: Requested through Starback.
      MaxSessionDuration: {{.Seconds}}
      AssumeRolePolicyDocument:
        {{indent .Trust "        "}}
{{- if .Boundary}}
      PermissionsBoundary: {Ref: Boundary}
{{- end}}
{{- with .PermissionARNs}}
      ManagedPolicyArns:
{{- range .}}
        - {{text .}}
{{- end}}
{{- end}}
{{- with .Permissions}}
      Policies:
        - PolicyName: permissions
          PolicyDocument:
            {{indent . "            "}}
{{- end}}
      Tags:
        - {Key: "starback:requestable", Value: "true"}
Outputs:
  RoleArn:
    Description: The ARN that the policy file must give the role.
    Value: {"Fn::GetAtt": [Role, Arn]}
`))
