package deploy_test

import (
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"io"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
)

// TestBundle builds what make package puts beside the template: two archives of
// one program each.
func TestBundle(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests package nothing")
	}
	folder := t.TempDir()
	if said, err := exec.Command("../scripts/bundle", folder).CombinedOutput(); err != nil {
		t.Fatalf("scripts/bundle: %v\n%s", err, said)
	}
	for archive, whole := range map[string]bool{"lambda.zip": true, "front.zip": false} {
		t.Run(archive, func(t *testing.T) { bundled(t, filepath.Join(folder, archive), whole) })
	}
}

// bundled holds that an archive's program has the name that Lambda calls, may be
// executed, and is for the machines that the functions run on. It needs nothing of
// theirs. Without the broker and the api it holds nothing that they alone need.
func bundled(t *testing.T, archive string, whole bool) {
	t.Helper()
	packed, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	if len(packed.File) != 1 || packed.File[0].Name != "bootstrap" || packed.File[0].Mode().Perm() != 0o755 {
		t.Fatalf("the archive holds %d files, the first of them %s %v", len(packed.File), packed.File[0].Name, packed.File[0].Mode())
	}
	in, err := packed.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	program, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	if binary.Class != elf.ELFCLASS64 || binary.Machine != elf.EM_AARCH64 || binary.Type != elf.ET_EXEC {
		t.Errorf("the program is %v for %v, %v", binary.Class, binary.Machine, binary.Type)
	}
	for _, part := range binary.Progs {
		if part.Type == elf.PT_INTERP {
			t.Error("the program needs a loader, which is not in the archive")
		}
	}
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	if info.Path != "github.com/starback/starback/cmd/lambda" {
		t.Errorf("the program is %s", info.Path)
	}
	for _, alone := range []string{"github.com/danielgtaylor/huma/v2", "github.com/aws/aws-sdk-go-v2/service/lambda"} {
		if linked := slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == alone }); linked != whole {
			t.Errorf("%s is in the program: %v", alone, linked)
		}
	}
}
