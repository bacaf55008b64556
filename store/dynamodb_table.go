package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/starback/starback/broker"
)

const (
	// dynamoSchema is the number of the items' form that this Starback writes.
	dynamoSchema = 1
	// tablePoll is how often a table that is being made is looked at.
	tablePoll = 500 * time.Millisecond
	// tablePatience is how long CreateTable waits in all.
	tablePatience = 10 * time.Minute
)

// The indexes of what waits: aggregates that need attention, Jobs, and the
// Requests that Users have open.
const (
	dueIndex      = "due"
	jobsIndex     = "jobs"
	requestsIndex = "requests-user"
)

// An index is a global secondary index of the table. Only items that have both
// attributes are in it.
type index struct {
	name, partition, order string
	orderType              types.ScalarAttributeType
	holds                  []string // beside the keys; nil: everything
}

// indexes are those of the table. The last is the newest: a table that lacks
// it, and nothing else, is an older store's.
func indexes() []index {
	all := []index{
		{dueIndex, "outbox", "due", types.ScalarAttributeTypeN, []string{}},
		{jobsIndex, "queue", "queued", types.ScalarAttributeTypeN, []string{"visible"}},
	}
	for _, i := range append(slices.Clone(eventIndexes), dayIndex) {
		all = append(all, index{i.name, i.attribute, "at", types.ScalarAttributeTypeS, nil})
	}
	return append(all, index{requestsIndex, "holder", "asked", types.ScalarAttributeTypeN, []string{}})
}

// definition returns what AWS calls the index.
func (i index) definition() types.GlobalSecondaryIndex {
	projection := &types.Projection{ProjectionType: types.ProjectionTypeAll}
	switch {
	case i.holds == nil:
	case len(i.holds) == 0:
		projection.ProjectionType = types.ProjectionTypeKeysOnly
	default:
		projection.ProjectionType, projection.NonKeyAttributes = types.ProjectionTypeInclude, i.holds
	}
	return types.GlobalSecondaryIndex{IndexName: &i.name, KeySchema: keySchema(i.partition, i.order), Projection: projection}
}

// keySchema returns a key of two attributes.
func keySchema(partition, order string) []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: &partition, KeyType: types.KeyTypeHash},
		{AttributeName: &order, KeyType: types.KeyTypeRange},
	}
}

// TableOptions are choices for a new table.
type TableOptions struct {
	// KMSKey is the id, ARN or alias of the customer key that encrypts the
	// table; empty: the key of the account that AWS manages for DynamoDB.
	KMSKey string
}

// A TableState is what CreateTable found or made.
type TableState struct {
	Created     bool `json:"created"`     // it was not there before
	Protected   bool `json:"protected"`   // from deletion
	Recoverable bool `json:"recoverable"` // to any point in time of the last 35 days
}

// CreateTable makes the table of a store and waits, for 10 minutes at most,
// until it can be used:
// billed by request, encrypted by KMS, protected from deletion, with
// point-in-time recovery. It can be repeated: a table that is there with the
// right keys and indexes is kept as it is, its encryption and protection
// included, except that point-in-time recovery is turned on. What stands in for
// AWS may not know recovery; then the table is not Recoverable.
//
// A table with other keys or indexes is broker.ErrInvalid. So is one of before
// Requests were found by their Users: an index added to it would not know those
// that are open already, which a copy into a new table does.
func CreateTable(ctx context.Context, cfg aws.Config, table string, opts TableOptions) (TableState, error) {
	var state TableState
	if err := checkTableName(table); err != nil {
		return state, err
	}
	ctx, stop := context.WithTimeout(ctx, tablePatience)
	defer stop()
	client := dynamodb.NewFromConfig(cfg)
	_, err := client.CreateTable(ctx, tableDefinition(table, opts))
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return state, unavailable("creating table "+table, err)
	}
	state.Created = err == nil
	described, err := awaitTable(ctx, client, table)
	if err != nil {
		return state, err
	}
	state.Protected = aws.ToBool(described.DeletionProtectionEnabled)
	if state.Recoverable, err = recoverable(ctx, client, table); err != nil {
		return state, err
	}
	attrs := schemaKey.item()
	attrs["number"] = integer(dynamoSchema)
	s := &DynamoDB{client: client, table: table}
	_, err = s.create(ctx, "schema", table, attrs)
	return state, err
}

// tableDefinition returns what AWS is asked for.
func tableDefinition(table string, opts TableOptions) *dynamodb.CreateTableInput {
	in := &dynamodb.CreateTableInput{
		TableName:                 &table,
		BillingMode:               types.BillingModePayPerRequest,
		KeySchema:                 keySchema("pk", "sk"),
		DeletionProtectionEnabled: aws.Bool(true),
		SSESpecification:          &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms},
	}
	if opts.KMSKey != "" {
		in.SSESpecification.KMSMasterKeyId = &opts.KMSKey
	}
	known := map[string]types.ScalarAttributeType{"pk": types.ScalarAttributeTypeS, "sk": types.ScalarAttributeTypeS}
	for _, i := range indexes() {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, i.definition())
		known[i.partition], known[i.order] = types.ScalarAttributeTypeS, i.orderType
	}
	for name, kind := range known {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &name, AttributeType: kind})
	}
	return in
}

// awaitTable waits until the table and its indexes can be used, checks them and
// returns what AWS says of them.
func awaitTable(ctx context.Context, client *dynamodb.Client, table string) (*types.TableDescription, error) {
	doing := "waiting for table " + table
	for {
		out, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
		var missing *types.ResourceNotFoundException
		switch {
		case errors.As(err, &missing): // just created, and not known everywhere
		case err != nil:
			return nil, unavailable(doing, err)
		default:
			if err := checkTable(out.Table); err != nil {
				return nil, err
			}
			if active(out.Table) {
				return out.Table, nil
			}
		}
		if err := wait(ctx, tablePoll); err != nil {
			return nil, unavailable(doing, err)
		}
	}
}

// active says whether a table and its indexes can be used.
func active(t *types.TableDescription) bool {
	building := func(i types.GlobalSecondaryIndexDescription) bool { return i.IndexStatus != types.IndexStatusActive }
	usable := t.TableStatus == types.TableStatusActive || t.TableStatus == types.TableStatusUpdating
	return usable && !slices.ContainsFunc(t.GlobalSecondaryIndexes, building)
}

// checkTable refuses a table whose keys or indexes are not those of a store.
// Further indexes do no harm.
func checkTable(t *types.TableDescription) error {
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range t.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	describe := func(schema []types.KeySchemaElement) string {
		var words []string
		for _, e := range schema {
			name := aws.ToString(e.AttributeName)
			words = append(words, fmt.Sprintf("%s %s %s", e.KeyType, name, kinds[name]))
		}
		return strings.Join(words, ", ")
	}
	refuse := func(what, has, wants string) error {
		return invalid("table", aws.ToString(t.TableName), fmt.Sprintf("it is not a store's: its %s has %s, not %s", what, has, wants))
	}
	if has, wants := describe(t.KeySchema), "HASH pk S, RANGE sk S"; has != wants {
		return refuse("key", orNothing(has), wants)
	}
	for _, i := range indexes() {
		has, wants := "", fmt.Sprintf("HASH %s S, RANGE %s %s", i.partition, i.order, i.orderType)
		for _, there := range t.GlobalSecondaryIndexes {
			if aws.ToString(there.IndexName) == i.name {
				has = describe(there.KeySchema) + projectionLacks(there.Projection, i.definition().Projection)
			}
		}
		if has == "" && i.name == requestsIndex {
			return invalid("table", aws.ToString(t.TableName), "it is an older store's, without the index "+i.name+
				"; make another with: starback store init, and move to it with: starback store copy")
		}
		if has != wants {
			return refuse("index "+i.name, orNothing(has), wants)
		}
	}
	return nil
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// projectionLacks says in words what an index does not hold, if so.
func projectionLacks(has, wants *types.Projection) string {
	if has == nil || has.ProjectionType == types.ProjectionTypeAll {
		return ""
	}
	if wants.ProjectionType == types.ProjectionTypeAll {
		return " without the other attributes"
	}
	for _, name := range wants.NonKeyAttributes {
		if !slices.Contains(has.NonKeyAttributes, name) {
			return " without " + name
		}
	}
	return ""
}

// recoverable turns on point-in-time recovery, and says whether that is known
// where the table is.
func recoverable(ctx context.Context, client *dynamodb.Client, table string) (bool, error) {
	doing := "turning on point-in-time recovery of table " + table
	for {
		_, err := client.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
			TableName:                        &table,
			PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
		})
		var notYet *types.ContinuousBackupsUnavailableException
		var api smithy.APIError
		switch {
		case err == nil:
			return true, nil
		case errors.As(err, &notYet): // the table is new
		case errors.As(err, &api) && api.ErrorCode() == "UnknownOperationException":
			return false, nil
		default:
			return false, unavailable(doing, err)
		}
		if err := wait(ctx, tablePoll); err != nil {
			return false, unavailable(doing, err)
		}
	}
}

// Ping reads from the table. It fails with broker.ErrUnavailable if that is not
// possible, and with broker.ErrInvalid if a newer Starback has changed the form
// of the items.
func (s *DynamoDB) Ping(ctx context.Context) error {
	_, err := s.itemsSchema(ctx)
	return err
}

// Schema implements Store. It looks at the keys and indexes of the table too.
func (s *DynamoDB) Schema(ctx context.Context) (int, error) {
	number, err := s.itemsSchema(ctx)
	if err != nil {
		return 0, err
	}
	out, err := s.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.table})
	if err != nil {
		return 0, s.failed("describing table "+s.table, err)
	}
	return number, checkTable(out.Table)
}

// itemsSchema returns the number of the form that the items have. A table that
// CreateTable did not make does not say, and has the first.
func (s *DynamoDB) itemsSchema(ctx context.Context) (int, error) {
	attrs, err := s.getItem(ctx, "schema", s.table, schemaKey)
	if errors.Is(err, broker.ErrNotFound) {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	number, ok := integerOf(attrs["number"])
	if !ok {
		return 0, damaged("schema", s.table)
	}
	if number > dynamoSchema {
		return 0, fmt.Errorf("store: table %s has schema %d of a newer Starback, and this one knows up to %d: %w",
			s.table, number, dynamoSchema, broker.ErrInvalid)
	}
	return int(number), nil
}
