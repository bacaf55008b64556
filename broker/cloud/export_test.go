package cloud

import "github.com/starback/starback/broker/policy"

// SignInEndpoint gives tests the endpoint and the console's home for a Role.
func (m *Minter) SignInEndpoint(role *policy.Role) (endpoint, home string, err error) {
	return m.signInEndpoint(role)
}
