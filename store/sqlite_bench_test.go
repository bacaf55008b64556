package store_test

import (
	"fmt"
	"testing"

	"github.com/starback/starback/broker"
)

func BenchmarkIdentify(b *testing.B) {
	s := open(b, newPath(b))
	fill(b, s)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Identify(b.Context(), bobID); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPutRequest(b *testing.B) {
	s := open(b, newPath(b))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, err := s.PutRequest(b.Context(), broker.Request{ID: fmt.Sprint(n), Role: "prod-readonly"}); err != nil {
			b.Fatal(err)
		}
	}
}
