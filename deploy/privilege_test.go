package deploy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	front   = "FrontRole"
	broker  = "BrokerRole"
	janitor = "JanitorRole"
)

// Things in the account that the functions reach for.
const (
	tableARN    = "arn:aws:dynamodb:eu-west-1:123456789012:table/starback-prod"
	otherTable  = "arn:aws:dynamodb:eu-west-1:123456789012:table/payroll"
	jobsARN     = "arn:aws:sqs:eu-west-1:123456789012:starback-prod-jobs"
	deadARN     = "arn:aws:sqs:eu-west-1:123456789012:starback-prod-jobs-dead"
	parameter   = "arn:aws:ssm:eu-west-1:123456789012:parameter/starback/prod/"
	requestable = "arn:aws:iam::111122223333:role/starback/Admin"
	unrelated   = "arn:aws:iam::111122223333:role/OrganizationAccountAccessRole"
	ownRole     = "arn:aws:iam::123456789012:role/starback-prod-broker"
	keyARN      = "arn:aws:kms:eu-west-1:123456789012:key/1234"
)

// TestLeastPrivilege evaluates the synthesised policies: what each function
// must be able to do, and what it must not.
func TestLeastPrivilege(t *testing.T) {
	tpl := synthesise(t)
	if roles := tpl.everyRole(t); !slices.Equal(roles, []string{broker, front, janitor}) {
		t.Fatalf("the template makes the roles %q: each needs rows here", roles)
	}
	var tests []struct {
		allowed                bool
		role, action, resource string
		context                map[string]string
	}
	row := func(allowed bool, role, action, resource string, context map[string]string) {
		tests = append(tests, struct {
			allowed                bool
			role, action, resource string
			context                map[string]string
		}{allowed, role, action, resource, context})
	}
	allow := func(role, action, resource string) { row(true, role, action, resource, nil) }
	deny := func(role, action, resource string) { row(false, role, action, resource, nil) }

	// The front: the queue, Slack's secrets, and what forms show; nothing else.
	allow(front, "sqs:SendMessage", jobsARN)
	allow(front, "ssm:GetParameter", parameter+"slack-signing-secret")
	allow(front, "ssm:GetParameter", parameter+"slack-bot-token")
	for _, action := range []string{"GetItem", "BatchGetItem"} {
		allow(front, "dynamodb:"+action, tableARN)
		deny(front, "dynamodb:"+action, tableARN+"/index/due")
		for _, role := range []string{front, broker, janitor} {
			deny(role, "dynamodb:"+action, otherTable)
		}
	}
	for _, action := range []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"} {
		deny(front, action, requestable)
		deny(janitor, action, requestable)
		allow(broker, action, requestable)
		deny(broker, action, unrelated)
		deny(broker, action, ownRole)
		deny(broker, action, "arn:aws:iam::123456789012:role/starback-prod-janitor")
	}
	deny(front, "ssm:GetParameter", parameter+"base")
	deny(front, "sqs:ReceiveMessage", jobsARN)
	deny(front, "sqs:SendMessage", deadARN)
	for _, action := range []string{"Query", "Scan", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems", "DeleteTable", "PartiQLSelect"} {
		deny(front, "dynamodb:"+action, tableARN)
		deny(broker, "dynamodb:"+action, otherTable)
		deny(janitor, "dynamodb:"+action, otherTable)
	}

	// The broker: mints, and writes without being able to erase.
	allow(broker, "ssm:GetParameter", parameter+"base")
	allow(broker, "ssm:GetParameter", parameter+"slack-bot-token")
	deny(broker, "ssm:GetParameter", "arn:aws:ssm:eu-west-1:123456789012:parameter/starback/dev/base")
	deny(broker, "ssm:PutParameter", parameter+"base")
	for _, action := range []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"} {
		allow(broker, action, jobsARN)
		deny(broker, action, deadARN)
		deny(janitor, action, jobsARN)
	}
	for _, role := range []string{broker, janitor} {
		for _, action := range []string{"GetItem", "BatchGetItem", "PutItem", "UpdateItem"} {
			allow(role, "dynamodb:"+action, tableARN)
		}
		allow(role, "dynamodb:Query", tableARN+"/index/due")
		for _, action := range []string{"BatchWriteItem", "DeleteTable", "UpdateTable", "DeleteBackup", "PartiQLDelete", "PartiQLUpdate", "UpdateTimeToLive"} {
			deny(role, "dynamodb:"+action, tableARN)
		}
		deny(role, "iam:PutRolePolicy", requestable)
		deny(role, "kms:PutKeyPolicy", keyARN)
		deny(role, "logs:DeleteLogStream", "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/starback-prod-broker:x")
	}

	// Both end sessions, through the one role that can do no more than that.
	for _, role := range []string{broker, janitor} {
		allow(role, "sts:AssumeRole", "arn:aws:iam::999988887777:role/starback-system/starback-revoker")
		deny(role, "sts:AssumeRole", "arn:aws:iam::999988887777:role/starback-system/starback-observer")
		deny(role, "iam:CreatePolicyVersion", "arn:aws:iam::123456789012:policy/starback-boundary/starback-ReadOnly")
	}
	deny(front, "sts:AssumeRole", "arn:aws:iam::999988887777:role/starback-system/starback-revoker")

	// The janitor: tells, and cannot mint.
	allow(janitor, "ssm:GetParameter", parameter+"slack-bot-token")
	deny(janitor, "ssm:GetParameter", parameter+"base")
	deny(janitor, "ssm:GetParameter", parameter+"slack-signing-secret")

	// The key says who may decrypt which parameter.
	for secret, may := range map[string][]string{
		"slack-signing-secret": {front, broker}, "slack-bot-token": {front, broker, janitor}, "base": {broker},
	} {
		for _, role := range []string{front, broker, janitor} {
			row(slices.Contains(may, role), role, "kms:Decrypt", keyARN,
				map[string]string{"kms:ViaService": "ssm.eu-west-1.amazonaws.com", "kms:EncryptionContext:PARAMETER_ARN": parameter + secret})
		}
	}
	for _, role := range []string{front, broker, janitor} {
		row(false, role, "kms:Decrypt", keyARN, nil) // by itself, for whatever
		throughTable := map[string]string{"kms:ViaService": "dynamodb.eu-west-1.amazonaws.com"}
		row(true, role, "kms:Decrypt", keyARN, throughTable)
		row(role != front, role, "kms:Encrypt", keyARN, throughTable)
	}

	for _, tt := range tests {
		name := fmt.Sprintf("%s %s %s", tt.role, tt.action, tt.resource)
		if got := tpl.may(t, tt.role, tt.action, tt.resource, tt.context); got != tt.allowed {
			t.Errorf("%s %v: allowed is %v", name, tt.context, got)
		}
	}
}

// TestNoWildcards allows a wildcard only where no name can stand.
func TestNoWildcards(t *testing.T) {
	tpl := synthesise(t)
	fine := map[string]string{
		"Log":                      "a log stream's name is made by Lambda",
		"ReadAndWriteTable":        "the table's own indexes",
		"MintFromRequestableRoles": "roles under the path, in whatever account",
		"EndSessions":              "the revoker, in whatever account",
	}
	for _, role := range tpl.everyRole(t) {
		for _, p := range tpl.Resources[role].Properties["Policies"].([]any) {
			for _, s := range tpl.statements(t, p.(map[string]any)["PolicyDocument"]) {
				for _, action := range s.actions {
					if strings.Contains(action, "*") {
						t.Errorf("%s, %s: the action %s", role, s.sid, action)
					}
				}
				for _, resource := range s.resources {
					if strings.Contains(resource, "*") && fine[s.sid] == "" {
						t.Errorf("%s, %s: the resource %s", role, s.sid, resource)
					}
				}
			}
		}
	}
}

// TestSettings holds what else the service promises.
func TestSettings(t *testing.T) {
	tpl := synthesise(t)
	number := func(id string, path ...string) float64 {
		var v any = tpl.Resources[id].Properties
		for _, key := range path {
			v = v.(map[string]any)[key]
		}
		n, ok := v.(float64)
		if !ok {
			t.Errorf("%s %v is %v", id, path, v)
		}
		return n
	}
	timeout, hidden := number("BrokerLambdaFunction", "Timeout"), number("JobsQueue", "VisibilityTimeout")
	if hidden <= timeout {
		t.Errorf("a job is hidden for %v s, and the broker may take %v s over it", hidden, timeout)
	}
	if lease := 30.0; hidden <= lease || timeout <= lease {
		t.Errorf("a request's lease of %v s outlives the broker's %v s or the job's %v s", lease, timeout, hidden)
	}
	if tries := number("JobsQueue", "RedrivePolicy", "maxReceiveCount"); tries != 5 {
		t.Errorf("a job is delivered %v times; cmd/lambda says good-bye to it at the fifth", tries)
	}
	if limit := number("HttpApiStage", "DefaultRouteSettings", "ThrottlingRateLimit"); limit < 1 {
		t.Errorf("the API is throttled to %v", limit)
	}
	format := fmt.Sprint(tpl.Resources["HttpApiStage"].Properties["AccessLogSettings"].(map[string]any)["Format"])
	for _, capability := range []string{"body", "querystring", "header", "authorizer", "$context.path"} {
		if strings.Contains(strings.ToLower(format), capability) {
			t.Errorf("the access log has %s", capability)
		}
	}
	for id, r := range tpl.Resources {
		switch r.Type {
		case "AWS::Lambda::Function":
			if r.Properties["Runtime"] != "provided.al2023" || fmt.Sprint(r.Properties["Architectures"]) != "[arm64]" {
				t.Errorf("%s runs on %v %v", id, r.Properties["Runtime"], r.Properties["Architectures"])
			}
			if _, set := r.Properties["ReservedConcurrentExecutions"]; set {
				t.Errorf("%s reserves concurrency, which a new account cannot", id)
			}
		case "AWS::Logs::LogGroup":
			if days, _ := r.Properties["RetentionInDays"].(float64); days == 0 {
				t.Errorf("%s keeps its lines for ever", id)
			}
		case "AWS::SQS::Queue":
			if r.Properties["KmsMasterKeyId"] == nil {
				t.Errorf("%s is not encrypted under the key", id)
			}
		case "AWS::KMS::Key", "AWS::DynamoDB::Table":
			if r.DeletionPolicy != "Retain" {
				t.Errorf("%s goes with the stack", id)
			}
		}
	}
}
