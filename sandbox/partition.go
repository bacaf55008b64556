package sandbox

import "regexp"

// awsPartitions are the partitions of AWS, each with the host of its console: a
// Region's console is a host below. Those whose console is not public have
// none. Sources: partitions.json in the AWS SDK, and the endpoints references.
var awsPartitions = map[string]string{
	"aws":        "console.aws.amazon.com",
	"aws-cn":     "console.amazonaws.cn",
	"aws-us-gov": "console.amazonaws-us-gov.com",
	"aws-eusc":   "console.amazonaws-eusc.eu",
	"aws-iso":    "", "aws-iso-b": "", "aws-iso-e": "", "aws-iso-f": "",
}

// An awsARN is the form of some ARNs: their partition, then what rest matches.
type awsARN struct{ form *regexp.Regexp }

func newAWSARN(rest string) awsARN {
	return awsARN{regexp.MustCompile(`^arn:([a-z-]+):` + rest + `$`)}
}

// find returns arn, its partition and what the groups of the form match, or nil
// if arn is something else.
func (a awsARN) find(arn string) []string {
	found := a.form.FindStringSubmatch(arn)
	if found == nil {
		return nil
	}
	if _, ok := awsPartitions[found[1]]; !ok {
		return nil
	}
	return found
}
