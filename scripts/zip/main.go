// Command zip packs programs for Lambda: each at the top of the archive,
// executable, with no time of its own, so that the same programs give the same
// archive.
package main

import (
	"archive/zip"
	"compress/flate"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "zip:", err)
		os.Exit(1)
	}
}

// run packs the files after the first argument into the archive it names.
func run(args []string) (err error) {
	if len(args) < 2 {
		return fmt.Errorf("usage: zip ARCHIVE FILE…")
	}
	out, err := os.Create(args[0])
	if err != nil {
		return err
	}
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	archive := zip.NewWriter(out)
	archive.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	for _, file := range args[1:] {
		if err := add(archive, file); err != nil {
			return err
		}
	}
	return archive.Close()
}

func add(archive *zip.Writer, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	header := &zip.FileHeader{Name: filepath.Base(file), Method: zip.Deflate}
	header.SetMode(0o755)
	w, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return err
}
