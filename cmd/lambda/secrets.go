package main

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/starback/starback/cmd/internal/config"
)

// resolve is Settings.Resolve with all settings read side by side: somebody
// waits while a function starts, and then for the slowest secret only. All that
// fails is said at once, in the order of config.Names.
func resolve(ctx context.Context, s config.Settings, cfg aws.Config) error {
	read := make([]config.Settings, len(config.Names))
	problems := make([]error, len(config.Names))
	var reads sync.WaitGroup
	for i, name := range config.Names {
		read[i] = config.Settings{name: s[name]}
		reads.Go(func() { problems[i] = read[i].Resolve(ctx, cfg) })
	}
	reads.Wait()
	for _, one := range read {
		maps.Copy(s, one)
	}
	return errors.Join(problems...)
}
