package deploy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The functions.
const (
	front   = "FrontLambdaFunction"
	broker  = "BrokerLambdaFunction"
	api     = "ApiLambdaFunction"
	janitor = "JanitorLambdaFunction"
)

var functions = []string{api, broker, front, janitor}

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

// readers are the functions that ask each index of the table.
var readers = map[string][]string{
	"due":               {broker, janitor}, // what is to be passed on
	"jobs":              nil,               // the server's queue; here it is SQS
	"requests-user":     {broker, janitor}, // what somebody has open
	"events-request":    nil,
	"events-access-key": {broker}, // whose a key is
	"events-actor":      nil,
	"events-role":       {broker}, // what was issued of a role that is ended
	"events-day":        {broker}, // whose a session is
}

// TestLeastPrivilege evaluates the synthesised policies: what each function
// must be able to do, and what it must not.
func TestLeastPrivilege(t *testing.T) {
	tpl := synthesise(t)
	if all := tpl.every("AWS::Lambda::Function"); !slices.Equal(all, functions) {
		t.Fatalf("the template makes the functions %q: each needs rows here", all)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(templateShape(t).Indexes)), slices.Sorted(maps.Keys(readers))); diff != "" {
		t.Fatalf("the table's indexes, each of which needs its readers here (-table +here):\n%s", diff)
	}
	var tests []struct {
		allowed                    bool
		function, action, resource string
		context                    map[string]string
	}
	row := func(allowed bool, function, action, resource string, context map[string]string) {
		tests = append(tests, struct {
			allowed                    bool
			function, action, resource string
			context                    map[string]string
		}{allowed, function, action, resource, context})
	}
	allow := func(function, action, resource string) { row(true, function, action, resource, nil) }
	deny := func(function, action, resource string) { row(false, function, action, resource, nil) }

	// The front: the queue, Slack's secrets, and what forms show; nothing else.
	allow(front, "sqs:SendMessage", jobsARN)
	allow(front, "ssm:GetParameter", parameter+"slack-signing-secret")
	allow(front, "ssm:GetParameter", parameter+"slack-bot-token")
	for _, action := range []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"} {
		deny(front, action, requestable)
		deny(api, action, requestable)
		deny(janitor, action, requestable)
		allow(broker, action, requestable)
		deny(broker, action, unrelated)
		deny(broker, action, ownRole)
		deny(broker, action, "arn:aws:iam::123456789012:role/starback-prod-janitor")
	}
	deny(front, "ssm:GetParameter", parameter+"base")
	deny(front, "sqs:ReceiveMessage", jobsARN)
	deny(front, "sqs:SendMessage", deadARN)

	// The api has the broker answer, and reads no secret.
	allow(api, "lambda:InvokeFunction", tpl.arn(broker))
	deny(api, "lambda:InvokeFunction", tpl.arn(janitor))
	deny(api, "lambda:InvokeFunction", tpl.arn(front))
	deny(api, "lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:123456789012:function:payroll")
	for _, secret := range []string{"slack-signing-secret", "slack-bot-token", "base"} {
		deny(api, "ssm:GetParameter", parameter+secret)
	}
	for _, action := range []string{"sqs:SendMessage", "sqs:ReceiveMessage"} {
		deny(api, action, jobsARN)
	}

	// The broker mints, and takes what the front queues.
	allow(broker, "ssm:GetParameter", parameter+"base")
	allow(broker, "ssm:GetParameter", parameter+"slack-bot-token")
	for _, action := range []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"} {
		allow(broker, action, jobsARN)
		deny(broker, action, deadARN)
		deny(janitor, action, jobsARN)
	}

	// The janitor: tells, and cannot mint.
	allow(janitor, "ssm:GetParameter", parameter+"slack-bot-token")
	deny(janitor, "ssm:GetParameter", parameter+"base")
	deny(janitor, "ssm:GetParameter", parameter+"slack-signing-secret")

	// Both end sessions, through the one role that can do no more than that.
	for _, fn := range []string{broker, janitor} {
		allow(fn, "sts:AssumeRole", "arn:aws:iam::999988887777:role/starback-system/starback-revoker")
		deny(fn, "sts:AssumeRole", "arn:aws:iam::999988887777:role/starback-system/starback-observer")
		deny(fn, "iam:CreatePolicyVersion", "arn:aws:iam::123456789012:policy/starback-boundary/starback-ReadOnly")
	}
	deny(front, "sts:AssumeRole", "arn:aws:iam::999988887777:role/starback-system/starback-revoker")
	deny(api, "sts:AssumeRole", "arn:aws:iam::999988887777:role/starback-system/starback-revoker")

	// The table: the front reads items by their keys. Broker and janitor also
	// write them, and ask indexes; the api does not reach it. Nobody erases, or
	// reads everything.
	writers := []string{broker, janitor}
	for _, fn := range functions {
		for _, action := range []string{"GetItem", "BatchGetItem"} {
			row(fn != api, fn, "dynamodb:"+action, tableARN, nil)
			deny(fn, "dynamodb:"+action, otherTable)
		}
		for _, action := range []string{"Query", "PutItem", "UpdateItem"} {
			row(slices.Contains(writers, fn), fn, "dynamodb:"+action, tableARN, nil)
			deny(fn, "dynamodb:"+action, otherTable)
		}
		for index, who := range readers {
			row(slices.Contains(who, fn), fn, "dynamodb:Query", tableARN+"/index/"+index, nil)
			deny(fn, "dynamodb:Scan", tableARN+"/index/"+index)
		}
		for _, action := range []string{
			"DeleteItem", "BatchWriteItem", "TransactWriteItems", "PartiQLDelete", "PartiQLUpdate", "PartiQLInsert", "PartiQLSelect",
			"Scan", "ExportTableToPointInTime", "CreateBackup", "DeleteBackup", "RestoreTableToPointInTime", "RestoreTableFromBackup",
			"DeleteTable", "UpdateTable", "UpdateTimeToLive", "UpdateContinuousBackups", "PutResourcePolicy", "UpdateGlobalTable",
		} {
			deny(fn, "dynamodb:"+action, tableARN)
			deny(fn, "dynamodb:"+action, otherTable)
		}
	}

	// Nobody changes what holds them in.
	for _, fn := range functions {
		deny(fn, "ssm:GetParameter", "arn:aws:ssm:eu-west-1:123456789012:parameter/starback/dev/base")
		deny(fn, "ssm:PutParameter", parameter+"base")
		deny(fn, "iam:PutRolePolicy", requestable)
		deny(fn, "iam:PutRolePolicy", ownRole)
		deny(fn, "kms:PutKeyPolicy", keyARN)
		deny(fn, "kms:CreateGrant", keyARN)
		deny(fn, "sqs:PurgeQueue", jobsARN)
		deny(fn, "logs:DeleteLogStream", "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/starback-prod-broker:x")
		for _, action := range []string{"UpdateFunctionCode", "UpdateFunctionConfiguration", "InvokeFunction"} {
			row(fn == api && action == "InvokeFunction", fn, "lambda:"+action, tpl.arn(broker), nil)
		}
	}

	// The key says who may decrypt which parameter, and who uses it for what.
	for secret, may := range map[string][]string{
		"slack-signing-secret": {front, broker}, "slack-bot-token": {front, broker, janitor}, "base": {broker},
	} {
		for _, fn := range functions {
			row(slices.Contains(may, fn), fn, "kms:Decrypt", keyARN, decrypting(parameter+secret))
		}
	}
	for _, fn := range functions {
		for _, action := range []string{"kms:Decrypt", "kms:GenerateDataKey"} {
			deny(fn, action, keyARN) // by itself, for whatever
			row(fn == front || fn == broker, fn, action, keyARN, through("sqs"))
			row(false, fn, action, keyARN, through("sns"))
			row(false, fn, action, keyARN, through("lambda"))
		}
		row(false, fn, "kms:Decrypt", keyARN, through("ssm")) // a parameter that is not said
		row(false, fn, "kms:Encrypt", keyARN, through("ssm"))
		row(false, fn, "kms:Encrypt", keyARN, through("sqs"))
		row(fn != api, fn, "kms:Decrypt", keyARN, through("dynamodb"))
		row(slices.Contains(writers, fn), fn, "kms:Encrypt", keyARN, through("dynamodb"))
		row(slices.Contains(writers, fn), fn, "kms:GenerateDataKey", keyARN, through("dynamodb"))
	}

	for _, tt := range tests {
		if got := tpl.may(t, tpl.roleOf(t, tt.function), tt.action, tt.resource, tt.context); got != tt.allowed {
			t.Errorf("%s %s %s %v: allowed is %v", tt.function, tt.action, tt.resource, tt.context, got)
		}
	}
}

// through is a call to KMS that a service makes for its caller.
func through(service string) map[string]string {
	return map[string]string{"kms:ViaService": service + ".eu-west-1.amazonaws.com"}
}

// decrypting is what the Parameter Store tells KMS of a parameter.
func decrypting(arn string) map[string]string {
	context := through("ssm")
	context["kms:EncryptionContext:PARAMETER_ARN"] = arn
	return context
}

// TestRoles holds that each function has a role of its own, which Lambda alone
// may take on.
func TestRoles(t *testing.T) {
	tpl := synthesise(t)
	taken := map[string]bool{}
	for _, fn := range functions {
		role := tpl.roleOf(t, fn)
		if taken[role] {
			t.Errorf("%s is not the only one that runs as %s", fn, role)
		}
		taken[role] = true
		want := []statement{{
			effect: "Allow", actions: []string{"sts:AssumeRole"}, principals: []string{"Service:lambda.amazonaws.com"},
			conditions: map[string][]string{},
		}}
		got := tpl.statements(t, tpl.Resources[role].Properties["AssumeRolePolicyDocument"])
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(statement{})); diff != "" {
			t.Errorf("trust policy of %s (-want +got):\n%s", role, diff)
		}
	}
	if roles := tpl.everyRole(t); !slices.Equal(roles, slices.Sorted(maps.Keys(taken))) {
		t.Errorf("the template makes the roles %q", roles)
	}
}

// TestNoWildcards allows a wildcard only where no name can stand.
func TestNoWildcards(t *testing.T) {
	tpl := synthesise(t)
	fine := map[string]string{
		"Log":                      "a log stream's name is made by Lambda",
		"MintFromRequestableRoles": "roles under the path, in whatever account",
		"EndSessions":              "the revoker, in whatever account",
	}
	indexes := templateShape(t).Indexes
	for _, role := range tpl.everyRole(t) {
		for _, s := range tpl.own(t, role) {
			for _, action := range s.actions {
				if strings.ContainsAny(action, "*?") {
					t.Errorf("%s, %s: the action %s", role, s.sid, action)
				}
			}
			for _, resource := range s.resources {
				if strings.ContainsAny(resource, "*?") && fine[s.sid] == "" {
					t.Errorf("%s, %s: the resource %s", role, s.sid, resource)
				}
				if _, index, ok := strings.Cut(resource, "/index/"); ok && indexes[index].Keys == nil {
					t.Errorf("%s, %s: the table has no index %s", role, s.sid, index)
				}
			}
		}
	}
}

// TestSecretsAreReadable holds that a function may read the parameters that its
// environment names, and decrypt them, and that no other function may.
func TestSecretsAreReadable(t *testing.T) {
	tpl := synthesise(t)
	named := map[string][]string{} // the functions, by parameter
	for _, fn := range functions {
		var mine []string
		for _, value := range tpl.environment(fn) {
			if path, ok := strings.CutPrefix(value, "ssm:"); ok {
				arn := "arn:aws:ssm:eu-west-1:123456789012:parameter" + path
				named[arn] = append(named[arn], fn)
				mine = append(mine, arn)
			}
		}
		var may []string
		for _, s := range tpl.own(t, tpl.roleOf(t, fn)) {
			if slices.ContainsFunc(s.actions, func(a string) bool { return strings.HasPrefix(a, "ssm:") }) {
				may = append(may, s.resources...)
			}
		}
		if diff := cmp.Diff(sorted(mine), sorted(may)); diff != "" {
			t.Errorf("%s reads parameters (-named +allowed):\n%s", fn, diff)
		}
	}
	if len(named) != 3 {
		t.Errorf("the functions name %d parameters", len(named))
	}
	for arn, may := range named {
		for _, fn := range functions {
			role, want := tpl.roleOf(t, fn), slices.Contains(may, fn)
			if got := tpl.may(t, role, "ssm:GetParameter", arn, nil); got != want {
				t.Errorf("%s reads %s: %v", fn, arn, got)
			}
			if got := tpl.may(t, role, "kms:Decrypt", keyARN, decrypting(arn)); got != want {
				t.Errorf("%s decrypts %s: %v", fn, arn, got)
			}
		}
	}
}

// environment is what a function is told.
func (tpl template) environment(function string) map[string]string {
	out := map[string]string{}
	variables := tpl.Resources[function].Properties["Environment"].(map[string]any)["Variables"].(map[string]any)
	for name, value := range variables {
		out[name] = tpl.resolve(value)
	}
	return out
}

// TestAlarmsReachTheirTopic holds that CloudWatch, which calls KMS itself, may
// use the key of the topic, for alarms of this account.
func TestAlarmsReachTheirTopic(t *testing.T) {
	tpl := synthesise(t)
	if got := tpl.resolve(tpl.Resources["AlarmTopic"].Properties["KmsMasterKeyId"]); got != "ref-Key" {
		t.Errorf("the topic is encrypted under %s", got)
	}
	here := map[string]string{"aws:SourceAccount": "123456789012"}
	for _, tt := range []struct {
		service, action string
		context         map[string]string
		allowed         bool
	}{
		{"cloudwatch", "kms:Decrypt", here, true},
		{"cloudwatch", "kms:GenerateDataKey", here, true},
		{"cloudwatch", "kms:Decrypt", map[string]string{"aws:SourceAccount": "999988887777"}, false},
		{"cloudwatch", "kms:GenerateDataKey", nil, false},
		{"cloudwatch", "kms:Encrypt", here, false},
		{"cloudwatch", "kms:CreateGrant", here, false},
		{"cloudwatch", "kms:PutKeyPolicy", here, false},
		{"sns", "kms:Decrypt", here, false},
		{"lambda", "kms:Decrypt", here, false},
	} {
		statements := tpl.key(t, "Service:"+tt.service+".amazonaws.com")
		if got := allowed(statements, tt.action, keyARN, tt.context); got != tt.allowed {
			t.Errorf("%s %s %v: allowed is %v", tt.service, tt.action, tt.context, got)
		}
	}
	for _, id := range tpl.every("AWS::CloudWatch::Alarm") {
		if got := fmt.Sprint(tpl.list(tpl.Resources[id].Properties["AlarmActions"])); got != "[ref-AlarmTopic]" {
			t.Errorf("%s tells %s", id, got)
		}
	}
}
