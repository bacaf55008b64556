package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/cmd/internal/config"
	"github.com/starback/starback/store"
)

// storeUsage describes the flag --store.
const storeUsage = "where everything is kept: file:PATH or dynamodb:TABLE (" + config.Store + ")"

// storeOptions are what every store is opened with, on the AWS that the
// environment configures.
func storeOptions() store.Options {
	return store.Options{AWS: checkedAWS, Now: time.Now, Entropy: rand.Reader}
}

// checkedAWS returns the SDK's configuration, unless it leads to somebody
// else's endpoint.
func checkedAWS(ctx context.Context) (aws.Config, error) {
	if err := config.CheckEndpoints(os.Environ()); err != nil {
		return aws.Config{}, usageError{err}
	}
	cfg, err := config.LoadAWS(ctx)
	if err != nil {
		return aws.Config{}, usageError{err}
	}
	return cfg, nil
}

// storeSpec says which store a flag or STARBACK_STORE names.
func (p *program) storeSpec(flag string) (store.Spec, error) {
	if flag == "" {
		flag = strings.TrimSpace(p.getenv(config.Store))
	}
	spec, err := config.StoreSpec(flag)
	if err != nil {
		return store.Spec{}, usageError{fmt.Errorf("%s: %w", config.Store, err)}
	}
	return spec, nil
}

// openStore opens the store that a flag or STARBACK_STORE names.
func (p *program) openStore(ctx context.Context, flag string) (store.Store, error) {
	spec, err := p.storeSpec(flag)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, spec.String(), storeOptions())
}

// errNoFile says that a store's file is not there.
var errNoFile = errors.New("there is no file")

// openExisting opens a store that must be there already.
func openExisting(ctx context.Context, spec store.Spec) (store.Store, error) {
	db, err := openThere(ctx, spec)
	if errors.Is(err, errNoFile) {
		err = fmt.Errorf("%w; make the store and its first administrator with: starback init --admin NAME --slack TEAM/USER", err)
	}
	return db, err
}

// openThere is openExisting without a word on how to make a store.
func openThere(ctx context.Context, spec store.Spec) (store.Store, error) {
	if spec.Engine == store.EngineSQLite {
		if _, err := os.Stat(spec.Name); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w %s", errNoFile, spec.Name)
		}
	}
	db, err := store.Open(ctx, spec.String(), storeOptions())
	if err != nil {
		return nil, err
	}
	if _, err := db.Schema(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (p *program) storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Make, check and move what everything is kept in",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.storeInitCommand(), p.storeCheckCommand(), p.storeCopyCommand())
	return cmd
}

func (p *program) storeInitCommand() *cobra.Command {
	var storeFlag, kmsKey string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make an empty store",
		Long: `Make an empty store: a SQLite file, or a DynamoDB table that is billed by
request, encrypted by KMS, protected from deletion and kept restorable to any
point of the last 35 days. It can be repeated: what is there already is checked
and kept.`,
		Example: "  starback store init --store dynamodb:starback --kms-key alias/starback",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec, err := p.storeSpec(storeFlag)
			if err != nil {
				return err
			}
			state, err := p.initStore(cmd.Context(), spec, kmsKey)
			if err != nil {
				return err
			}
			if asJSON {
				writeJSON(p.stdout, struct {
					Store string `json:"store"`
					store.TableState
				}{spec.String(), state})
				return nil
			}
			if state.Created {
				fmt.Fprintf(p.stdout, "%s is made.\nNext: starback init --admin NAME --slack TEAM/USER\n", spec)
			} else {
				fmt.Fprintf(p.stdout, "%s was there already, and is a store.\n", spec)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&storeFlag, "store", "", storeUsage)
	cmd.Flags().StringVar(&kmsKey, "kms-key", "", "the customer key that encrypts a new table: id, ARN or alias (default: the one AWS manages)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was done as JSON")
	return cmd
}

// initStore makes the store unless it is there, and warns of a table that is
// less safe than a new one. A file is as safe as its disk.
func (p *program) initStore(ctx context.Context, spec store.Spec, kmsKey string) (store.TableState, error) {
	if spec.Engine == store.EngineSQLite {
		if kmsKey != "" {
			return store.TableState{}, usageError{errors.New("--kms-key: a file is not encrypted by KMS; encrypt its disk")}
		}
		_, err := os.Stat(spec.Name)
		state := store.TableState{Created: errors.Is(err, fs.ErrNotExist)}
		db, err := store.Open(ctx, spec.String(), storeOptions())
		if err != nil {
			return store.TableState{}, err
		}
		return state, db.Close()
	}
	cfg, err := checkedAWS(ctx)
	if err != nil {
		return store.TableState{}, err
	}
	fmt.Fprintf(p.stderr, "making %s; a new table takes a minute\n", spec)
	state, err := store.CreateTable(ctx, cfg, spec.Name, store.TableOptions{KMSKey: kmsKey})
	if err != nil {
		return store.TableState{}, err
	}
	if !state.Protected {
		fmt.Fprintln(p.stderr, "warning: the table is not protected from deletion; turn deletion protection on")
	}
	if !state.Recoverable {
		fmt.Fprintln(p.stderr, "warning: point-in-time recovery is not known here, so nothing that is lost can be restored")
	}
	return state, nil
}

func (p *program) storeCheckCommand() *cobra.Command {
	var storeFlag string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read everything in a store, and say what there is",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			spec, err := p.storeSpec(storeFlag)
			if err != nil {
				return err
			}
			db, err := openExisting(ctx, spec)
			if err != nil {
				return err
			}
			defer db.Close()
			schema, schemaErr := db.Schema(ctx)
			counts, countErr := store.Count(ctx, db)
			jobs, jobsErr := db.Waiting(ctx)
			if err := errors.Join(schemaErr, countErr, jobsErr); err != nil {
				return err
			}
			if asJSON {
				writeJSON(p.stdout, struct {
					Store  string `json:"store"`
					Schema int    `json:"schema"`
					store.Counts
					Jobs int `json:"jobs"`
				}{spec.String(), schema, counts, jobs})
				return nil
			}
			fmt.Fprintf(p.stdout, "%s has schema %d and can be read.\n%s, waiting jobs: %d\n", spec, schema, describe(counts), jobs)
			return nil
		},
	}
	cmd.Flags().StringVar(&storeFlag, "store", "", storeUsage)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

func (p *program) storeCopyCommand() *cobra.Command {
	var from, to string
	var opts store.CopyOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "copy --from STORE --to STORE",
		Short: "Move an installation to another store",
		Long: `Copy users with their tokens, identities, all versions of the policy, requests,
proposals, fences (the sessions that were ended early), paces (how soon people
answer requests) and the audit trail into an empty store, then read both and
compare them. Stop every server first: nothing else may use either store
meanwhile.

Jobs that wait are not copied: let the server finish them, or leave them behind
with --force. A copy that was cut off goes on with --resume; until it is whole,
the target lets nobody do anything that the source does not.`,
		Example: "  starback store copy --from file:starback.db --to dynamodb:starback",
		Args:    noArgs,
		PreRunE: needFlags("from", "to"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Report = func(c store.Counts) { fmt.Fprintln(p.stderr, "copying: "+describe(c)) }
			counts, err := p.copyStore(cmd.Context(), from, to, opts)
			if err != nil {
				return err
			}
			if asJSON {
				writeJSON(p.stdout, counts)
			} else {
				fmt.Fprintf(p.stdout, "Copied and compared.\n%s\n", describe(counts))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the store to copy: file:PATH or dynamodb:TABLE")
	cmd.Flags().StringVar(&to, "to", "", "the empty store to copy to")
	cmd.Flags().BoolVar(&opts.Resume, "resume", false, "go on with a copy that was cut off")
	cmd.Flags().BoolVar(&opts.Force, "force", false, "leave waiting jobs behind")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was copied as JSON")
	return cmd
}

// copyStore copies one store into another.
func (p *program) copyStore(ctx context.Context, from, to string, opts store.CopyOptions) (store.Counts, error) {
	source, err := store.ParseSpec(from)
	if err != nil {
		return store.Counts{}, usageError{fmt.Errorf("--from: %w", err)}
	}
	target, err := store.ParseSpec(to)
	if err != nil {
		return store.Counts{}, usageError{fmt.Errorf("--to: %w", err)}
	}
	if source == target {
		return store.Counts{}, usageError{errors.New("--from and --to are the same store")}
	}
	src, err := openThere(ctx, source)
	if err != nil {
		return store.Counts{}, fmt.Errorf("--from: %w", err)
	}
	defer src.Close()
	dst, err := store.Open(ctx, target.String(), storeOptions())
	if err != nil {
		return store.Counts{}, fmt.Errorf("--to: %w", err)
	}
	defer dst.Close()
	counts, err := store.Copy(ctx, src, dst, opts)
	if errors.Is(err, broker.ErrConflict) && !opts.Resume && counts == (store.Counts{}) {
		err = fmt.Errorf("nothing was copied: %w", err)
	}
	return counts, err
}

// describe says in words how much there is.
func describe(c store.Counts) string {
	return fmt.Sprintf("users: %d, identities: %d, policy versions: %d, requests: %d, proposals: %d, fences: %d, paces: %d, events: %d",
		c.Users, c.Identities, c.Policies, c.Requests, c.Proposals, c.Fences, c.Paces, c.Events)
}
