// Package bot is Starback in Slack: it checks what Slack sends, understands
// what people type and press, asks the broker, and tells people what came of
// it in words of its own.
//
// Its Front faces the internet and can do nothing but put Jobs on a queue. Its
// Worker carries them out. What it promises: nothing unsigned, stale or from
// another workspace is acted on; every command is answered; credentials go to
// the requester alone; and text that people typed is shown as text, whatever
// it looks like.
//
// It knows the broker, and neither the store nor AWS.
package bot
