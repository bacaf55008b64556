package policy

import (
	"slices"
	"strings"
)

// A Partition is one of AWS's clouds. Each has its own accounts and its own
// Regions, and no role is assumed across them.
//
// Sources: partitions.json and the endpoint rules of IAM and of sign-in in the
// AWS SDK; for aws-eusc, the endpoints reference of that cloud too.
type Partition struct {
	Name string // as in ARNs
	IAM  string // the Region that has IAM's one endpoint

	// SignIn and Console are the hosts of the console's sign-in and of the
	// console. Each Region's are subdomains. Both are empty where the console's
	// is not public: no link is made where it might lead astray.
	SignIn, Console string
	// Regional says that only the Regions' hosts answer.
	Regional bool

	prefix string // of the names of its Regions
}

// partitions are those that the SDK knows. Those that have no prefix of their
// own come first.
var partitions = []Partition{
	{Name: "aws", IAM: "us-east-1", SignIn: "signin.aws.amazon.com", Console: "console.aws.amazon.com"},
	{Name: "aws-cn", IAM: "cn-north-1", SignIn: "signin.amazonaws.cn", Console: "console.amazonaws.cn", prefix: "cn-"},
	{Name: "aws-us-gov", IAM: "us-gov-west-1", SignIn: "signin.amazonaws-us-gov.com", Console: "console.amazonaws-us-gov.com", prefix: "us-gov-"},
	{Name: "aws-eusc", IAM: "eusc-de-east-1", SignIn: "signin.amazonaws-eusc.eu", Console: "console.amazonaws-eusc.eu", Regional: true, prefix: "eusc-"},
	{Name: "aws-iso", IAM: "us-iso-east-1", prefix: "us-iso-"},
	{Name: "aws-iso-b", IAM: "us-isob-east-1", prefix: "us-isob-"},
	{Name: "aws-iso-e", IAM: "eu-isoe-west-1", prefix: "eu-isoe-"},
	{Name: "aws-iso-f", IAM: "us-isof-south-1", prefix: "us-isof-"},
}

// PartitionNamed returns the Partition that ARNs call name.
func PartitionNamed(name string) (Partition, bool) {
	i := slices.IndexFunc(partitions, func(p Partition) bool { return p.Name == name })
	if i < 0 {
		return Partition{}, false
	}
	return partitions[i], true
}

// partitionNames returns the names of all Partitions.
func partitionNames() []string {
	var names []string
	for _, p := range partitions {
		names = append(names, p.Name)
	}
	return names
}

var (
	// regionPattern is the form of all names of Regions, and ownRegion that of
	// those without a prefix that tells their Partition.
	regionPattern = expression(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	ownRegion     = expression(`^[a-z]{2}-[a-z]+-[0-9]{1,2}$`)
)

// partitionOf returns the Partition that a Region is in, whether or not the
// Region is there already.
func partitionOf(region string) (Partition, bool) {
	for _, p := range partitions {
		if p.prefix != "" && strings.HasPrefix(region, p.prefix) {
			return p, regionPattern().MatchString(region)
		}
	}
	return partitions[0], ownRegion().MatchString(region)
}
