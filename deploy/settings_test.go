package deploy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	starbackapi "github.com/starback/starback/api"
	"github.com/starback/starback/bot"
	starback "github.com/starback/starback/broker"
)

// number is a number in a resource's properties.
func (tpl template) number(t *testing.T, id string, path ...string) float64 {
	t.Helper()
	var v any = tpl.Resources[id].Properties
	for _, key := range path {
		inner, _ := v.(map[string]any)
		v = inner[key]
	}
	n, ok := v.(float64)
	if !ok {
		t.Errorf("%s %v is %v", id, path, v)
	}
	return n
}

// TestSettings holds what else the service promises.
func TestSettings(t *testing.T) {
	tpl := synthesise(t)
	timeout, hidden := tpl.number(t, broker, "Timeout"), tpl.number(t, "JobsQueue", "VisibilityTimeout")
	if hidden <= timeout {
		t.Errorf("a job is hidden for %v s, and the broker may take %v s over it", hidden, timeout)
	}
	if lease := starback.LeaseFor.Seconds(); hidden <= lease || timeout <= lease {
		t.Errorf("a request's lease of %v s outlives the broker's %v s or the job's %v s", lease, timeout, hidden)
	}
	if limit := tpl.number(t, "HttpApiStage", "DefaultRouteSettings", "ThrottlingRateLimit"); limit < 1 {
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
			if got := tpl.resolve(r.Properties["KmsMasterKeyId"]); got != tpl.arn("Key") {
				t.Errorf("%s is encrypted under %s", id, got)
			}
		case "AWS::KMS::Key", "AWS::DynamoDB::Table":
			if r.DeletionPolicy != "Retain" || r.UpdateReplacePolicy != "Retain" {
				t.Errorf("%s goes with the stack", id)
			}
		}
	}
}

// TestFunctions holds what each function is told that it is, that it is the
// bootstrap, and who may have it run.
func TestFunctions(t *testing.T) {
	tpl := synthesise(t)
	invokers := map[string][]string{}
	for _, id := range tpl.every("AWS::Lambda::Permission") {
		p := tpl.Resources[id].Properties
		if p["Action"] != "lambda:InvokeFunction" || p["SourceArn"] == nil {
			t.Errorf("%s: %v for %v", id, p["Action"], p["SourceArn"])
		}
		name := tpl.resolve(p["FunctionName"])
		invokers[name] = append(invokers[name], fmt.Sprintf("%v %s", p["Principal"], tpl.resolve(p["SourceArn"])))
	}
	for id, want := range map[string]struct {
		function string
		archive  string
		timeout  time.Duration // within which somebody waits, or the next begins
		invokers []string
	}{
		front:   {"front", "front", 30 * time.Second, []string{"apigateway.amazonaws.com arn:aws:execute-api:eu-west-1:123456789012:ref-HttpApi/*"}},
		api:     {"api", "lambda", 30 * time.Second, []string{"apigateway.amazonaws.com arn:aws:execute-api:eu-west-1:123456789012:ref-HttpApi/*"}},
		broker:  {"broker", "lambda", 15 * time.Minute, nil},
		janitor: {"janitor", "front", time.Minute, []string{"events.amazonaws.com arn-of-JanitorEventsRuleSchedule1"}},
	} {
		p := tpl.Resources[id].Properties
		if got := tpl.environment(id)["STARBACK_FUNCTION"]; got != want.function {
			t.Errorf("%s is told that it is %q", id, got)
		}
		if key := fmt.Sprint(p["Code"].(map[string]any)["S3Key"]); !strings.HasSuffix(key, "/"+want.archive+".zip") {
			t.Errorf("%s runs what is in %s", id, key)
		}
		if p["Handler"] != "bootstrap" || p["PackageType"] != nil || p["Layers"] != nil {
			t.Errorf("%s runs %v of %v, with %v", id, p["Handler"], p["PackageType"], p["Layers"])
		}
		if got := tpl.number(t, id, "Timeout"); got >= want.timeout.Seconds() {
			t.Errorf("%s may take %v s", id, got)
		}
		if diff := cmp.Diff(want.invokers, invokers[tpl.arn(id)]); diff != "" {
			t.Errorf("who may have %s run (-want +got):\n%s", id, diff)
		}
	}
}

// TestRoutes holds that the API takes in what Slack posts, and leads all of it
// to the front, what applications call to the api, and nothing else anywhere.
func TestRoutes(t *testing.T) {
	tpl := synthesise(t)
	var got []string
	for _, id := range tpl.every("AWS::ApiGatewayV2::Route") {
		p := tpl.Resources[id].Properties
		got = append(got, fmt.Sprintf("%v to %s", p["RouteKey"], tpl.resolve(p["Target"])))
	}
	var want []string
	for _, path := range []string{bot.PathCommands, bot.PathInteractions, bot.PathEvents} {
		want = append(want, "POST "+path+" to integrations/ref-HttpApiIntegrationFront")
	}
	want = append(want, "ANY "+starbackapi.Prefix+"{proxy+} to integrations/ref-HttpApiIntegrationApi")
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	for id, fn := range map[string]string{"HttpApiIntegrationFront": front, "HttpApiIntegrationApi": api} {
		p := tpl.Resources[id].Properties
		if p["IntegrationType"] != "AWS_PROXY" || tpl.resolve(p["IntegrationUri"]) != tpl.arn(fn) || p["PayloadFormatVersion"] != "2.0" {
			t.Errorf("%s is reached by %v", fn, p)
		}
	}
	if got := tpl.environment(api)["STARBACK_BROKER_FUNCTION"]; got != tpl.Resources[broker].Properties["FunctionName"] {
		t.Errorf("the api asks %q", got)
	}
	if got := tpl.number(t, api, "Timeout"); got <= starbackapi.Patience.Seconds() {
		t.Errorf("the api has %v s, and an ask may take %v", got, starbackapi.Patience)
	}
}

// TestQueueReachesTheBroker in batches, of which it names what failed.
func TestQueueReachesTheBroker(t *testing.T) {
	tpl := synthesise(t)
	all := tpl.every("AWS::Lambda::EventSourceMapping")
	if len(all) != 1 {
		t.Fatalf("the template maps %q", all)
	}
	p := tpl.Resources[all[0]].Properties
	if from, to := tpl.resolve(p["EventSourceArn"]), tpl.resolve(p["FunctionName"]); from != jobsARN || to != tpl.arn(broker) {
		t.Errorf("%s leads to %s", from, to)
	}
	if got := tpl.list(p["FunctionResponseTypes"]); !slices.Equal(got, []string{"ReportBatchItemFailures"}) {
		t.Errorf("the broker's answer is read as %q: one failure fails the batch", got)
	}
	if p["Enabled"] != true {
		t.Error("nothing is handed over")
	}
	if size := tpl.number(t, all[0], "BatchSize"); size != 5 {
		t.Errorf("a batch is of %v; docs/lambda.md says 5", size)
	}
	if p["MaximumBatchingWindowInSeconds"] != nil {
		t.Error("a batch waits to be filled, and a person with it")
	}
	if most := tpl.number(t, all[0], "ScalingConfig", "MaximumConcurrency"); most != 10 {
		t.Errorf("there may be %v brokers at once; docs/lambda.md says 10", most)
	}
	dead := tpl.Resources["JobsQueue"].Properties["RedrivePolicy"].(map[string]any)["deadLetterTargetArn"]
	if got := tpl.resolve(dead); got != deadARN {
		t.Errorf("jobs are put aside to %s", got)
	}
}

// TestSchedule has the janitor run every minute.
func TestSchedule(t *testing.T) {
	tpl := synthesise(t)
	all := tpl.every("AWS::Events::Rule")
	if len(all) != 1 {
		t.Fatalf("the template has the rules %q", all)
	}
	p := tpl.Resources[all[0]].Properties
	if p["ScheduleExpression"] != "rate(1 minute)" || p["State"] != "ENABLED" {
		t.Errorf("it goes off at %v and is %v", p["ScheduleExpression"], p["State"])
	}
	targets := p["Targets"].([]any)
	if len(targets) != 1 || tpl.resolve(targets[0].(map[string]any)["Arn"]) != tpl.arn(janitor) {
		t.Errorf("it calls %v", targets)
	}
}

// TestTableIsSafe from deletion, from what is written by mistake, and from
// whoever does not hold the key.
func TestTableIsSafe(t *testing.T) {
	tpl := synthesise(t)
	p := tpl.Resources["Table"].Properties
	want := map[string]any{
		"TableName":                        "starback-prod",
		"BillingMode":                      "PAY_PER_REQUEST",
		"DeletionProtectionEnabled":        true,
		"PointInTimeRecoverySpecification": map[string]any{"PointInTimeRecoveryEnabled": true},
		"SSESpecification": map[string]any{
			"SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": map[string]any{"Fn::GetAtt": []any{"Key", "Arn"}},
		},
	}
	got := map[string]any{}
	for name, value := range p {
		switch name {
		case "KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes": // TestTableIsTheStores
		default:
			got[name] = value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
	if tpl.Resources["Key"].Properties["EnableKeyRotation"] != true {
		t.Error("the key is not rotated")
	}
}

// TestNothingElse holds that the template makes nothing of a type that these
// tests do not look at: it might give somebody something.
func TestNothingElse(t *testing.T) {
	tpl := synthesise(t)
	known := []string{
		"AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Integration", "AWS::ApiGatewayV2::Route", "AWS::ApiGatewayV2::Stage",
		"AWS::CloudWatch::Alarm", "AWS::DynamoDB::Table", "AWS::Events::Rule", "AWS::IAM::Role", "AWS::KMS::Alias", "AWS::KMS::Key",
		"AWS::Lambda::EventSourceMapping", "AWS::Lambda::Function", "AWS::Lambda::Permission", "AWS::Logs::LogGroup",
		"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::SNS::Topic", "AWS::SQS::Queue",
	}
	for id, r := range tpl.Resources {
		if !slices.Contains(known, r.Type) {
			t.Errorf("%s is of type %s", id, r.Type)
		}
	}
	// The bucket that osls puts the programs into.
	for _, id := range tpl.every("AWS::S3::BucketPolicy") {
		for _, raw := range tpl.Resources[id].Properties["PolicyDocument"].(map[string]any)["Statement"].([]any) {
			if s := raw.(map[string]any); s["Effect"] != "Deny" {
				t.Errorf("%s: %v", id, s)
			}
		}
	}
}
