package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"

	"github.com/starback/starback/broker"
)

const (
	// appendAtOnce is how many Events one Append writes at a time.
	appendAtOnce = 8
	momentDigits = 15
	// firstMoment sorts before the moment of every Event, and lastMoment behind.
	firstMoment = "000000000000000#"
	lastMoment  = "~"
)

// moment is what the indexes of Events are ordered by: the time in Unix
// milliseconds, then the ID. Times before 1970 count as 1970.
func moment(t time.Time, id string) string {
	return fmt.Sprintf("%0*d#%s", momentDigits, max(t.UnixMilli(), 0), id)
}

// dayOf names the day of a moment, in UTC.
func dayOf(moment string) string {
	if len(moment) < momentDigits {
		return moment // lastMoment
	}
	ms, err := strconv.ParseInt(moment[:momentDigits], 10, 64)
	if err != nil {
		return moment
	}
	return time.UnixMilli(ms).UTC().Format(time.DateOnly)
}

// Append implements broker.Archive.
func (s *DynamoDB) Append(ctx context.Context, events []broker.Event) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(appendAtOnce)
	for _, e := range events {
		group.Go(func() error { return s.appendOne(ctx, e) })
	}
	return group.Wait()
}

// appendOne lists the Event's day and then writes the Event.
func (s *DynamoDB) appendOne(ctx context.Context, e broker.Event) error {
	if e.ID == "" {
		return invalid("event", e.ID, "it has no key")
	}
	body, err := encode("event", e.ID, e)
	if err != nil {
		return err
	}
	at := moment(e.Time, e.ID)
	on := dayOf(at)
	if !s.days.Contains(on) {
		if _, err := s.create(ctx, "day", on, dayKey(on).item()); err != nil {
			return err
		}
		s.days.Add(on, struct{}{})
	}
	attrs := eventKey(e.ID).item()
	attrs["at"], attrs["id"], attrs["body"] = text(at), text(e.ID), text(body)
	for name, value := range map[string]string{
		"day": on, "request": e.RequestID, "access_key": e.AccessKeyID, "actor": e.Actor, "role": string(e.Role),
	} {
		if value != "" {
			attrs[name] = text(value)
		}
	}
	_, err = s.create(ctx, "event", e.ID, attrs)
	return err
}

// Events implements broker.Archive. The order is that of time and, within a
// millisecond, of ID. It lags behind the newest writes, usually by less than a
// second.
func (s *DynamoDB) Events(ctx context.Context, q broker.EventQuery) ([]broker.Event, error) {
	if q.Limit <= 0 {
		q.Limit = eventsPage
	}
	search, err := s.newSearch(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, i := range eventIndexes {
		if value := i.asked(q); value != "" {
			if err := s.search(ctx, search, i, value); err != nil {
				return nil, err
			}
			return search.events, nil
		}
	}
	days, err := s.listDays(ctx, search)
	if err != nil {
		return nil, err
	}
	for _, on := range days {
		if err := s.search(ctx, search, dayIndex, on); err != nil {
			return nil, err
		}
		if len(search.events) == q.Limit {
			break
		}
	}
	return search.events, nil
}

// An eventIndex is an index of Events by one attribute.
type eventIndex struct {
	name, attribute string
	asked           func(broker.EventQuery) string // what a query wants of it; empty: nothing
}

// eventIndexes are asked in this order: what chooses fewest comes first.
var eventIndexes = []eventIndex{
	{"events-request", "request", func(q broker.EventQuery) string { return q.RequestID }},
	{"events-access-key", "access_key", func(q broker.EventQuery) string { return q.AccessKeyID }},
	{"events-actor", "actor", func(q broker.EventQuery) string { return q.Actor }},
	{"events-role", "role", func(q broker.EventQuery) string { return string(q.Role) }},
}

// dayIndex serves queries that name none of these.
var dayIndex = eventIndex{"events-day", "day", func(broker.EventQuery) string { return "" }}

// An eventSearch is an EventQuery on its way.
type eventSearch struct {
	q        broker.EventQuery
	from, to string // moments: from the one, to before the other
	byID     bool   // the Event that After names is not there: only its ID can tell
	events   []broker.Event
}

// newSearch works out between which moments q looks. Where the page before
// ended is where that Event is.
func (s *DynamoDB) newSearch(ctx context.Context, q broker.EventQuery) (*eventSearch, error) {
	search := &eventSearch{q: q, from: firstMoment, to: lastMoment}
	if !q.Since.IsZero() {
		search.from = moment(q.Since, "")
	}
	if !q.Until.IsZero() {
		search.to = moment(q.Until, "")
	}
	if q.After == "" {
		return search, nil
	}
	attrs, err := s.getItem(ctx, "event", q.After, eventKey(q.After))
	switch {
	case errors.Is(err, broker.ErrNotFound):
		search.byID = true
	case err != nil:
		return nil, err
	default:
		search.from = max(search.from, textOf(attrs["at"])+"\x00") // what follows it
	}
	return search, nil
}

// listDays returns the days on which there were Events, as far as the search is
// concerned, in order.
func (s *DynamoDB) listDays(ctx context.Context, search *eventSearch) (days []string, err error) {
	if search.from >= search.to {
		return nil, nil
	}
	in := &dynamodb.QueryInput{
		KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :from AND :to"),
		ExpressionAttributeValues: attributes{":pk": text(dayPartition), ":from": text(dayOf(search.from)), ":to": text(dayOf(search.to))},
		ConsistentRead:            aws.Bool(true),
	}
	err = s.query(ctx, "reading the days with events", in, func(attrs attributes) (bool, error) {
		days = append(days, keyOf(attrs).sk)
		return true, nil
	})
	return days, err
}

// search adds what the index finds under value, until the page is full.
func (s *DynamoDB) search(ctx context.Context, search *eventSearch, i eventIndex, value string) error {
	if search.from >= search.to {
		return nil
	}
	q := search.q
	in := &dynamodb.QueryInput{
		IndexName:                 &i.name,
		KeyConditionExpression:    aws.String("#index = :index AND #at BETWEEN :from AND :to"),
		ExpressionAttributeNames:  map[string]string{"#index": i.attribute, "#at": "at"},
		ExpressionAttributeValues: attributes{":index": text(value), ":from": text(search.from), ":to": text(search.to)},
	}
	var conditions []string
	where := func(condition, attribute, value string) {
		conditions = append(conditions, condition)
		in.ExpressionAttributeNames["#"+attribute] = attribute
		in.ExpressionAttributeValues[":"+attribute] = text(value)
	}
	for _, other := range eventIndexes {
		if wanted := other.asked(q); wanted != "" && other.name != i.name {
			where("#"+other.attribute+" = :"+other.attribute, other.attribute, wanted)
		}
	}
	if search.byID {
		where("#id > :id", "id", q.After)
	}
	if len(conditions) > 0 {
		in.FilterExpression = aws.String(strings.Join(conditions, " AND "))
	} else {
		in.Limit = aws.Int32(int32(min(q.Limit, 1000)))
	}
	return s.query(ctx, "reading events", in, func(attrs attributes) (bool, error) {
		id := strings.TrimPrefix(keyOf(attrs).pk, eventPrefix)
		e, err := readEvent(id, attrs)
		if err != nil {
			return false, err
		}
		search.events = append(search.events, e)
		return len(search.events) < q.Limit, nil
	})
}
