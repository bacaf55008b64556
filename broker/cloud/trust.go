package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/starback/starback/broker/policy"
)

// maxTrust is how long a trust policy can be, in characters, white space
// aside. It is 2,048 until AWS raises the account's quota. Source: the IAM and
// STS quotas.
const maxTrust = 4096

// An identity is an IAM user or role, taken from its ARN.
type identity struct {
	partition, account, kind string
	Path, Name               string
}

// BoundaryName is what the identity's permissions boundary is called. The
// prefix keeps it apart from policies that somebody named after the role.
func (i identity) BoundaryName() string { return "starback-" + i.Name }

func (i identity) boundaryARN() string {
	return "arn:" + i.partition + ":iam::" + i.account + ":policy" + boundaryPath + i.BoundaryName()
}

var identityARN = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^arn:(aws(?:-[a-z]+)*):iam::([0-9]{12}):(user|role)((?:/[\w+=,.@-]+)*/)([\w+=,.@-]{1,64})$`)
})

func parseIdentity(arn string) (identity, bool) {
	parts := identityARN().FindStringSubmatch(arn)
	if parts == nil {
		return identity{}, false
	}
	if _, known := policy.PartitionNamed(parts[1]); !known {
		return identity{}, false
	}
	return identity{parts[1], parts[2], parts[3], parts[4], parts[5]}, true
}

// CheckTrust refuses an ARN that is not an IAM user's or role's, and says what
// to give instead.
func CheckTrust(arn string) error {
	_, ok := parseIdentity(arn)
	switch {
	case ok:
		return nil
	case strings.Contains(arn, ":assumed-role/"):
		return fmt.Errorf("%q is one session of a role; give the role itself, as in arn:aws:iam::999988887777:role/starback-base", arn)
	case strings.HasSuffix(arn, ":root"):
		return fmt.Errorf("%q is a whole account; give the user or role that Starback acts as", arn)
	}
	return fmt.Errorf("%q is not the ARN of an IAM user or role", arn)
}

// A statement is one of a trust policy, in IAM's own names.
type statement struct {
	Sid, Effect string
	Principal   map[string]values
	Action      string
	Condition   conditions `json:",omitempty"`
}

// Conditions are what to compare with, by operator and key.
type conditions map[string]map[string]values

// Values are written as IAM does, one without its brackets.
type values []string

// MarshalJSON implements json.Marshaler.
func (v values) MarshalJSON() ([]byte, error) {
	if len(v) == 1 {
		return json.Marshal(v[0])
	}
	return json.Marshal([]string(v))
}

// trustPolicy returns the trust policy, as JSON, that lets trusted make the
// calls that Starback makes for roles.
//
// AssumeRole with tags and a source identity is three actions to AWS, and a
// condition on a key that an action does not have refuses it. So each action
// has a statement of its own, with the keys that AWS documents for it.
// AssumeRole has them all: what it requires, the other two need not.
func trustPolicy(roles []*policy.Role, partition string, trusted []string) (string, error) {
	if err := checkTrusted(trusted, partition); err != nil {
		return "", err
	}
	first := roles[0]
	for _, r := range roles {
		if r.ExternalID != first.ExternalID || r.NoTags != first.NoTags || r.NoSourceIdentity != first.NoSourceIdentity {
			return "", fmt.Errorf("%s and %s are one IAM role, and its trust policy cannot serve both: let them agree in `external_id`, `tags` and `source_identity`", first.Name, r.Name)
		}
	}
	equals, like := map[string]values{}, map[string]values{"sts:RoleSessionName": {"?*@?*"}} // user@session
	if first.ExternalID != "" {
		equals["sts:ExternalId"] = values{first.ExternalID}
	}
	if !first.NoTags {
		equals["aws:RequestTag/starback:role"] = namesOf(roles)
		like["aws:RequestTag/starback:user"] = values{"?*"}
		like["aws:RequestTag/starback:request"] = values{"?*"}
	}
	if !first.NoSourceIdentity {
		like["sts:SourceIdentity"] = values{"?*"}
	}
	assume := conditions{"StringLike": like}
	if len(equals) > 0 {
		assume["StringEquals"] = equals
	}
	principal := map[string]values{"AWS": sortedSet(trusted)}
	statements := []statement{{"Assume", "Allow", principal, "sts:AssumeRole", assume}}
	if !first.NoTags {
		statements = append(statements, statement{"Tag", "Allow", principal, "sts:TagSession",
			conditions{"ForAllValues:StringEquals": {"aws:TagKeys": tagKeys(roles)}}})
	}
	if !first.NoSourceIdentity {
		statements = append(statements, statement{"SayWho", "Allow", principal, "sts:SetSourceIdentity", nil})
	}
	document, err := json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", statements})
	if err != nil {
		return "", err
	}
	if size := utf8.RuneCount(document); size > maxTrust {
		return "", fmt.Errorf("the trust policy has %d characters, and AWS takes %d: have fewer roles share an IAM role", size, maxTrust)
	}
	return string(document), nil
}

func checkTrusted(trusted []string, partition string) error {
	if len(trusted) == 0 {
		return errors.New("nobody is trusted to assume the role")
	}
	for _, arn := range trusted {
		if err := CheckTrust(arn); err != nil {
			return err
		}
		if id, _ := parseIdentity(arn); id.partition != partition {
			return fmt.Errorf("%s is in another partition than the role, and no role trusts across partitions", arn)
		}
	}
	return nil
}

// tagKeys are the keys of the session tags that Starback gives for roles.
func tagKeys(roles []*policy.Role) []string {
	keys := []string{"starback:user", "starback:request", "starback:role"}
	for _, r := range roles {
		keys = slices.AppendSeq(keys, maps.Keys(r.Tags))
	}
	return sortedSet(keys)
}
