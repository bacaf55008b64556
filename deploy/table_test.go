package deploy_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/store"
)

// A shape is what tells one table from another.
type shape struct {
	Keys       map[string]string // attribute: HASH or RANGE
	Attributes map[string]string // attribute: type
	Indexes    map[string]indexShape
}

type indexShape struct {
	Keys       map[string]string
	Projection string
	NonKeys    []string
}

// TestTableIsTheStores compares the template's table with the one that the
// store makes, as DynamoDB Local describes it.
func TestTableIsTheStores(t *testing.T) {
	cfg := dynamolocal.Config(t)
	name := dynamolocal.TableName()
	if _, err := store.CreateTable(t.Context(), cfg, name, store.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	out, err := dynamodb.NewFromConfig(cfg).DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil {
		t.Fatal(err)
	}
	made := shape{Keys: keysOf(out.Table.KeySchema), Attributes: map[string]string{}, Indexes: map[string]indexShape{}}
	for _, a := range out.Table.AttributeDefinitions {
		made.Attributes[aws.ToString(a.AttributeName)] = string(a.AttributeType)
	}
	for _, i := range out.Table.GlobalSecondaryIndexes {
		made.Indexes[aws.ToString(i.IndexName)] = indexShape{keysOf(i.KeySchema), string(i.Projection.ProjectionType), sorted(i.Projection.NonKeyAttributes)}
	}
	if diff := cmp.Diff(made, templateShape(t)); diff != "" {
		t.Errorf("the template's table differs from the store's (-store +template):\n%s", diff)
	}
}

func keysOf(schema []types.KeySchemaElement) map[string]string {
	keys := map[string]string{}
	for _, k := range schema {
		keys[aws.ToString(k.AttributeName)] = string(k.KeyType)
	}
	return keys
}

// sorted returns list in order, and nil for an empty one.
func sorted(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return slices.Sorted(slices.Values(list))
}

// templateShape reads the shape out of the synthesised template.
func templateShape(t *testing.T) shape {
	t.Helper()
	raw, err := json.Marshal(synthesise(t).Resources["Table"].Properties)
	if err != nil {
		t.Fatal(err)
	}
	var in struct {
		KeySchema              []types.KeySchemaElement
		AttributeDefinitions   []types.AttributeDefinition
		GlobalSecondaryIndexes []types.GlobalSecondaryIndex
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	out := shape{Keys: keysOf(in.KeySchema), Attributes: map[string]string{}, Indexes: map[string]indexShape{}}
	for _, a := range in.AttributeDefinitions {
		out.Attributes[aws.ToString(a.AttributeName)] = string(a.AttributeType)
	}
	for _, i := range in.GlobalSecondaryIndexes {
		out.Indexes[aws.ToString(i.IndexName)] = indexShape{keysOf(i.KeySchema), string(i.Projection.ProjectionType), sorted(i.Projection.NonKeyAttributes)}
	}
	return out
}
