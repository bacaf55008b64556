// Package sandbox stands in for AWS and for a Slack workspace, over real HTTP.
//
// It exists so that a mistake fails in a test or a demo instead of in
// production. The ordinary SDK clients and the AWS command line work against it
// unmodified, and it refuses what the vendors refuse: a wrong signature, a
// caller the trust policy does not name, a session longer than the role allows,
// a sign-in token sixteen minutes old.
//
// Nothing in it is real. Every secret it makes carries [Marker], is worthless
// anywhere else, and can be searched for in whatever was printed or stored.
//
// Time and randomness are injected. Everything is kept in memory, and nothing
// else of the project is imported. Only cmd/starback and tests import it.
package sandbox
