package bot

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/slack-go/slack"
)

func TestLinked(t *testing.T) {
	const url = "https://t.example/INC-1"
	for _, c := range []struct {
		name, text string
		links      []linkTo
		want       string
	}{
		{"no links", "INC-1", nil, "INC-1"},
		{"the whole text", "INC-1", []linkTo{{"INC-1", url}}, "[INC-1](https://t.example/INC-1)"},
		{"a word of it", "see INC-1 now", []linkTo{{"INC-1", url}}, "see [INC-1](https://t.example/INC-1) now"},
		{"the first of two", "INC-1 INC-1", []linkTo{{"INC-1", url}}, "[INC-1](https://t.example/INC-1) INC-1"},
		{"part of a word", "INC-11 or xINC-1, INC-1.", []linkTo{{"INC-1", url}}, "INC-11 or xINC-1, INC-1."},
		{"part of a word, then the word", "INC-11 INC-1", []linkTo{{"INC-1", url}}, "INC-11 [INC-1](https://t.example/INC-1)"},
		{"nowhere to lead", "INC-1", []linkTo{{"INC-1", ""}}, "INC-1"},
		{"no word", "INC-1", []linkTo{{"", url}}, "INC-1"},
		{"two links", "b a", []linkTo{{"a", "https://a"}, {"b", "https://b"}}, "[b](https://b) [a](https://a)"},
		{"one that is part of another", "a/b a", []linkTo{{"a", "https://a"}, {"a/b", "https://b"}}, "[a/b](https://b) [a](https://a)"},
		{"other letters around", "“INC-1” INC-1🔥", []linkTo{{"INC-1", url}}, "“INC-1” INC-1🔥"},
		{"what is stripped when it is shown", "INC-1", []linkTo{{"INC\u202e-1", url}}, "[INC-1](https://t.example/INC-1)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			for _, piece := range linked(c.text, c.links) {
				switch piece := piece.(type) {
				case *slack.RichTextSectionTextElement:
					got += piece.Text
				case *slack.RichTextSectionLinkElement:
					got += fmt.Sprintf("[%s](%s)", piece.Text, piece.URL)
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestDraftLink holds that a form's link is one that Starback put there, and
// that it stands in the reason.
func TestDraftLink(t *testing.T) {
	for _, c := range []struct{ name, metadata, reason, want string }{
		{"as it was", ourMessage, ourMessage, ourMessage},
		{"among other words", ourMessage, "see " + ourMessage + " please", ourMessage},
		{"taken out", ourMessage, "the disk is full", ""},
		{"changed", ourMessage, ourMessage + "0", ""},
		{"typed", "", ourMessage, ""},
		{"another place", "https://evil.example/archives/C012AB/p1763899200000100", "https://evil.example/archives/C012AB/p1763899200000100", ""},
		{"another path", "https://acme.slack.com/signin", "https://acme.slack.com/signin", ""},
		{"more than a link", ourMessage + "\n<!here>", ourMessage, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := seenView{PrivateMetadata: c.metadata}
			if err := json.Unmarshal([]byte(state("prod-admin", "1h", "INC-1", c.reason)), &v.State); err != nil {
				t.Fatal(err)
			}
			if got := v.draft().link; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
