package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var figures = flag.Bool("figures", false, "measure cold starts and print them")

// TestColdStart prints what each function costs beside a bare Go function, in
// one run: the time from exec to the first /next, resident memory then, and the
// size of the archive.
func TestColdStart(t *testing.T) {
	if !*figures {
		t.Skip("measured with -figures, as make bench does")
	}
	c := newCloud(t)
	folder := t.TempDir()
	if err := compile(folder, "bare", "./testdata/bare"); err != nil {
		t.Fatal(err)
	}
	// Straight to the Parameter Store.
	env := append(slices.Clone(c.env), "AWS_ENDPOINT_URL="+c.serve(c.aws))
	functions := []struct{ name, path string }{{"bare", filepath.Join(folder, "bare", "bootstrap")}}
	for _, name := range []string{"front", "broker", "api", "janitor"} {
		functions = append(functions, struct{ name, path string }{name, bootstrap(t, name)})
	}
	times, resident := map[string][]time.Duration{}, map[string][]int{}
	for range coldStarts { // in turn: what else the machine does, it does to all
		for _, fn := range functions {
			f := startFunction(t, fn.path, time.Minute, serverless(t).settings(fn.name, env)...)
			select {
			case <-f.ready:
			case <-f.exited:
				t.Fatalf("%s does not start\n%s", fn.name, f.output())
			}
			times[fn.name] = append(times[fn.name], f.init)
			resident[fn.name] = append(resident[fn.name], residentKB(t, f.cmd.Process.Pid))
			f.kill()
		}
	}
	fmt.Printf("%-10s %14s %12s %10s\n", "function", "exec to /next", "resident", "zip")
	for _, fn := range functions {
		slices.Sort(times[fn.name])
		slices.Sort(resident[fn.name])
		fmt.Printf("%-10s %11.1f ms %9.1f MB %7.1f MB\n", fn.name, float64(times[fn.name][coldStarts/2].Microseconds())/1000,
			float64(resident[fn.name][coldStarts/2])/1024, zipped(t, fn.path))
	}
}

// coldStarts is how often each function is started; the medians are shown.
const coldStarts = 41

// residentKB is the resident memory of a process, in KiB, where the system has
// /proc.
func residentKB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("this system has no /proc to read memory from")
	}
	for line := range bytes.Lines(status) {
		if rest, ok := strings.CutPrefix(string(line), "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// zipped is the size of a program's archive in MB.
func zipped(t *testing.T, path string) float64 {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "x.zip")
	cmd := exec.Command("go", "run", "../../scripts/zip", archive, path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("zip: %v\n%s", err, out)
	}
	info, err := os.Stat(archive)
	if err != nil {
		t.Fatal(err)
	}
	return float64(info.Size()) / 1e6
}
