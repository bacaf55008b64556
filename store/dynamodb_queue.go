package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/starback/starback/broker"
)

const (
	// queueName is the one partition of the index "jobs".
	queueName = "jobs"
	// claimPage is how many Jobs that may be seen one Claim considers at most.
	claimPage = 50
	// freshKept is how many Jobs of its own a process remembers.
	freshKept = 256
)

// freshJobs are the Jobs that this process put on the queue and did not see
// again, the oldest first. The index lags: without them, the process that
// enqueues a Job would often look for it in vain.
type freshJobs struct {
	mu   sync.Mutex
	jobs []candidate
}

func (f *freshJobs) add(c candidate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs = append(f.jobs, c)
	if len(f.jobs) > freshKept {
		f.jobs = slices.Delete(f.jobs, 0, 1)
	}
}

func (f *freshJobs) remove(k key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs = slices.DeleteFunc(f.jobs, func(c candidate) bool { return c.key == k })
}

func (f *freshJobs) all() []candidate {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.jobs)
}

// Enqueue implements broker.Queue. A Job that is queued already is left as it
// is, even when the queue is full. Once it is done, its ID is forgotten.
//
// How many Jobs are waiting is counted before the Job is written, and on an
// index that lags: those that come at the same moment all find room where there
// is room for one.
func (s *DynamoDB) Enqueue(ctx context.Context, j broker.Job) error {
	if j.ID == "" {
		return invalid("job", j.ID, "it has no key")
	}
	waiting, err := s.Waiting(ctx)
	if err != nil {
		return err
	}
	k := jobKey(j.ID)
	if waiting >= s.maxJobs {
		if _, err := s.getItem(ctx, "job", j.ID, k); !errors.Is(err, broker.ErrNotFound) {
			return err // nil: it is there
		}
		return fmt.Errorf("store: job %q: %d jobs are waiting already: %w", j.ID, waiting, broker.ErrUnavailable)
	}
	queued := s.now().UnixNano()
	attrs := k.item()
	attrs["queue"], attrs["queued"] = text(queueName), integer(queued)
	attrs["visible"], attrs["claims"] = integer(0), integer(0)
	attrs["deadline"], attrs["body"] = integer(j.Deadline.UnixMilli()), binary(j.Body)
	if _, err := s.create(ctx, "job", j.ID, attrs); err != nil {
		return err
	}
	s.fresh.add(candidate{k, queued})
	return nil
}

// Claim takes the oldest Job that may be seen at now and hides it until
// now+lease; ok is false if there is none. A worker that is not done by then
// shares the Job with the next one that claims it. A Job past its Deadline is
// claimed like any other: it is for the worker to refuse it.
//
// What other processes did a moment ago may not be seen yet, so that a Job may
// be overlooked for that long. No Job is claimed twice within its lease.
func (s *DynamoDB) Claim(ctx context.Context, now time.Time, lease time.Duration) (job broker.Job, ok bool, err error) {
	candidates, err := s.visibleJobs(ctx, now)
	if err != nil {
		return broker.Job{}, false, err
	}
	for _, c := range candidates {
		s.fresh.remove(c.key)
		if job, ok, err = s.claim(ctx, c.key, now, lease); ok || err != nil {
			return job, ok, err
		}
	}
	return broker.Job{}, false, nil
}

// visibleJobs returns Jobs that may probably be claimed, the oldest first.
func (s *DynamoDB) visibleJobs(ctx context.Context, now time.Time) ([]candidate, error) {
	candidates := s.fresh.all()
	in := &dynamodb.QueryInput{
		IndexName:                 aws.String(jobsIndex),
		KeyConditionExpression:    aws.String("queue = :queue"),
		FilterExpression:          aws.String("visible <= :now"),
		ExpressionAttributeValues: attributes{":queue": text(queueName), ":now": integer(now.UnixMilli())},
	}
	seen := 0
	err := s.query(ctx, "looking for a job", in, func(attrs attributes) (bool, error) {
		queued, _ := integerOf(attrs["queued"])
		candidates = append(candidates, candidate{keyOf(attrs), queued})
		seen++
		return seen < claimPage, nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.pk, b.pk))
	})
	return slices.Compact(candidates), nil
}

// claim takes the Job with the key, if it may be seen at now.
func (s *DynamoDB) claim(ctx context.Context, k key, now time.Time, lease time.Duration) (broker.Job, bool, error) {
	id := strings.TrimPrefix(k.pk, jobPrefix)
	mark := s.mark()
	out, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.table, Key: k.item(),
		UpdateExpression:    aws.String("SET visible = :until, mark = :mark ADD claims :one"),
		ConditionExpression: aws.String("visible <= :now"),
		ExpressionAttributeValues: attributes{
			":until": integer(now.Add(lease).UnixMilli()), ":mark": text(mark), ":one": integer(1), ":now": integer(now.UnixMilli()),
		},
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	stored, refused := conditionFailed(err)
	switch {
	case err == nil:
		stored = out.Attributes
	case !refused:
		return broker.Job{}, false, s.failed("claiming job "+id, err)
	case textOf(stored["mark"]) != mark: // it is not ours after all
		return broker.Job{}, false, nil
	}
	deadline, deadlineOK := integerOf(stored["deadline"])
	claims, claimsOK := integerOf(stored["claims"])
	body, bodyOK := stored["body"].(*types.AttributeValueMemberB)
	if !deadlineOK || !claimsOK || !bodyOK {
		return broker.Job{}, false, damaged("job", id)
	}
	return broker.Job{ID: id, Body: body.Value, Deadline: time.UnixMilli(deadline).UTC(), Tries: int(claims - 1)}, true, nil
}

// Retry lets the Job with the ID be claimed again at the given time. A Job that
// is done meanwhile stays done.
func (s *DynamoDB) Retry(ctx context.Context, id string, at time.Time) error {
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.table, Key: jobKey(id).item(),
		UpdateExpression:          aws.String("SET visible = :at"),
		ConditionExpression:       aws.String("attribute_exists(pk)"),
		ExpressionAttributeValues: attributes{":at": integer(at.UnixMilli())},
	})
	if _, gone := conditionFailed(err); err != nil && !gone {
		return s.failed("retrying job "+id, err)
	}
	return nil
}

// Done removes the Job with the ID, if it is there. Backups of the table keep
// its sealed Body as long as they are kept.
func (s *DynamoDB) Done(ctx context.Context, id string) error {
	k := jobKey(id)
	s.fresh.remove(k)
	_, err := s.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.table, Key: k.item()})
	if err != nil {
		return s.failed("removing job "+id, err)
	}
	return nil
}

// Waiting returns how many Jobs there are, those being worked on included. It
// may lag behind the newest writes.
func (s *DynamoDB) Waiting(ctx context.Context) (int, error) {
	in := &dynamodb.QueryInput{
		TableName: &s.table, IndexName: aws.String(jobsIndex), Select: types.SelectCount,
		KeyConditionExpression:    aws.String("queue = :queue"),
		ExpressionAttributeValues: attributes{":queue": text(queueName)},
	}
	for waiting := 0; ; {
		out, err := s.client.Query(ctx, in)
		if err != nil {
			return 0, s.failed("counting jobs", err)
		}
		waiting += int(out.Count)
		if len(out.LastEvaluatedKey) == 0 {
			return waiting, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}
