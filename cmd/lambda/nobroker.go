//go:build nobroker

package main

// brokerFunctions are left out.
var brokerFunctions map[string]maker
