package dynamolocal

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Contents returns all that stands in a table, one value after the other.
func Contents(t testing.TB, table string) string {
	t.Helper()
	var all strings.Builder
	pages := dynamodb.NewScanPaginator(dynamodb.NewFromConfig(Config(t)), &dynamodb.ScanInput{TableName: &table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			for name, value := range item {
				all.WriteString(name + "=")
				switch v := value.(type) {
				case *types.AttributeValueMemberS:
					all.WriteString(v.Value)
				case *types.AttributeValueMemberN:
					all.WriteString(v.Value)
				case *types.AttributeValueMemberB:
					all.Write(v.Value)
				default:
					t.Fatalf("the attribute %s is a %T, which no store writes", name, v)
				}
				all.WriteByte('\n')
			}
		}
	}
	return all.String()
}
