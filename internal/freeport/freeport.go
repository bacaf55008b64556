// Package freeport finds addresses for the engines that tests run, which have to
// be told theirs.
package freeport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports looked at: none that the system gives by itself, to a listener that
// takes any or to a connection that goes out (from 32768 on Linux). What is free
// here is still free once an engine has come so far as to listen, unless another
// engine was told the same.
const (
	first = 10_000
	after = 32_000
	tries = 100
)

// Addr returns an address of this machine, as HOST:PORT, on which nobody
// listens.
func Addr(ctx context.Context) (string, error) {
	var failed error
	for range tries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(after-first))) //nolint:gosec // any will do
		var listener net.Listener
		if listener, failed = new(net.ListenConfig).Listen(ctx, "tcp", addr); failed == nil {
			return addr, listener.Close()
		}
	}
	return "", errors.Join(errors.New("no port is free"), failed)
}
