package sandbox

import (
	"fmt"
	"io"
)

// Marker is in every secret the sandbox makes: secret access keys, session and
// sign-in tokens, and Slack's tokens, signing secrets and response URLs. It is
// made of letters only, so it is legal in all of them and survives URL
// escaping. Access key ids are public and do not carry it.
const Marker = "SandboxSecret"

// markerEvery is the distance between two markers. Any 128 characters of a
// longer secret then hold at least one whole marker, so that a secret cut into
// pieces of that size is still recognised.
const markerEvery = 64

// secretAlphabet has 64 characters, so a random byte chooses one without bias.
const secretAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// Secret makes a secret of exactly n characters of [A-Za-z0-9+/]. It begins
// with [Marker], which comes again every 64 characters as long as a whole one
// fits. Secret panics if n is less than the length of Marker or if rand fails.
func Secret(n int, rand io.Reader) string {
	if n < len(Marker) {
		panic(fmt.Sprintf("sandbox: a secret of %d characters cannot hold the marker", n))
	}
	b := awsRandom(n, rand)
	for i, c := range b {
		b[i] = secretAlphabet[int(c)%len(secretAlphabet)]
	}
	for i := 0; i+len(Marker) <= n; i += markerEvery {
		copy(b[i:], Marker)
	}
	return string(b)
}

// awsRandom reads n bytes from rand. It panics if rand fails: nothing the
// sandbox does makes sense without randomness.
func awsRandom(n int, rand io.Reader) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(rand, b); err != nil {
		panic(fmt.Sprintf("sandbox: reading randomness: %v", err))
	}
	return b
}
