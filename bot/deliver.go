package bot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/starback/starback/broker"
)

// How a response URL is used. Slack takes 5 posts within 30 minutes; a refused
// post may count, so there are fewer tries than that.
const (
	deliverTries   = 4
	deliverTimeout = 5 * time.Second // a try
	deliverPause   = 250 * time.Millisecond
	deliverBudget  = 25 * time.Second // all tries and pauses
)

// A Courier brings messages to the person they are for, through the response
// URL of what they typed or pressed.
type Courier struct {
	hosts  []string
	client *http.Client
}

// NewCourier returns a Courier that posts only to hosts, given as HOST or
// HOST:PORT. Plain HTTP is for loopback hosts alone.
func NewCourier(hosts []string, client *http.Client) *Courier {
	own := *client
	own.Timeout = deliverTimeout
	// A redirect would take the message to a host that is not allowed.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Courier{hosts: hosts, client: &own}
}

// errResponseURL says that a response URL does not point where Slack's do. The
// URL is a capability and is not part of it.
var errResponseURL = errors.New("the response URL does not point to an allowed host and path")

// check returns the URL if it may be posted to.
func (c *Courier) check(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Fragment != "" || u.RawQuery != "" || u.Opaque != "" {
		return "", errResponseURL
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return "", errResponseURL
	}
	if !slices.Contains(c.hosts, u.Host) || strings.Contains(u.Path, "..") {
		return "", errResponseURL
	}
	if !strings.HasPrefix(u.Path, "/commands/") && !strings.HasPrefix(u.Path, "/actions/") {
		return "", errResponseURL
	}
	return u.String(), nil
}

// isLoopback says whether a host is this machine itself.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// deliver posts body until Slack takes it, tries run out or trying is no use.
func (c *Courier) deliver(ctx context.Context, responseURL broker.Secret, body []byte) error {
	to, err := c.check(responseURL.Reveal())
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, deliverBudget)
	defer stop()
	for try := 1; ; try++ {
		wait, err := c.post(ctx, to, body)
		if err == nil {
			return nil
		}
		if wait < 0 || try == deliverTries {
			return err
		}
		if wait = max(wait, deliverPause<<(try-1)); wait > deliverBudget {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// post posts once. It returns how long to wait at least before another try; a
// negative wait says that another is no use.
func (c *Courier) post(ctx context.Context, to string, body []byte) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return -1, errResponseURL
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	res, err := c.client.Do(req)
	if err != nil {
		var at *url.Error // prints the URL, which is a capability
		if errors.As(err, &at) {
			err = at.Err
		}
		return 0, fmt.Errorf("Slack did not take the message: %w", err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	switch {
	case res.StatusCode == http.StatusOK && accepted(answer):
		return 0, nil
	case res.StatusCode == http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		return time.Duration(max(seconds, 1)) * time.Second, errors.New("Slack asked for patience")
	case res.StatusCode >= 500:
		return 0, fmt.Errorf("Slack answered %d", res.StatusCode)
	default:
		return -1, fmt.Errorf("Slack answered %d", res.StatusCode)
	}
}

// accepted says whether a 200 is Slack's yes: "ok", or {"ok":true}.
func accepted(answer []byte) bool {
	s := string(bytes.TrimSpace(answer))
	return s == "" || s == "ok" || strings.HasPrefix(s, `{"ok":true`) || strings.HasPrefix(s, `{"ok": true`)
}
