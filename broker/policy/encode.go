package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Encode returns d as canonical JSON: keys and lists that are sets sorted,
// times in UTC, no white space. Documents that mean the same encode the same.
// Encode refuses what Decode would refuse.
func (d *Document) Encode() ([]byte, error) {
	if found := checkStored(d); len(found) > 0 {
		return nil, fmt.Errorf("policy: encode: %w", found[0])
	}
	b, err := json.Marshal(d.canonical())
	if err != nil {
		return nil, fmt.Errorf("policy: encode: %w", err)
	}
	return b, nil
}

// Decode reads what Encode wrote. It refuses everything else: unknown or
// repeated keys, another order, and a Document that Parse would have refused.
func Decode(b []byte) (*Document, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var d *Document
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("policy: decode: %w", err)
	}
	again, err := d.Encode()
	if err != nil {
		return nil, fmt.Errorf("policy: decode: %w", err)
	}
	if !bytes.Equal(again, b) {
		return nil, errors.New("policy: decode: the document is not in canonical form")
	}
	return d, nil
}

// Digest returns the SHA-256 of what Encode returns, in hexadecimal, or
// nothing when Encode refuses d.
func (d *Document) Digest() string {
	b, err := d.Encode()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// canonical returns a copy of d in the order in which it is encoded.
func (d *Document) canonical() *Document {
	c := &Document{
		Accounts: map[AccountName]Account{},
		Groups:   map[GroupName]Group{},
		Roles:    map[RoleName]*Role{},
		Admins:   sorted(d.Admins),
		Settings: d.Settings,
		Removed:  sorted(d.Removed),
	}
	for name, account := range d.Accounts {
		c.Accounts[name] = account
	}
	for name, group := range d.Groups {
		group.Grants = sortGrants(group.Grants)
		c.Groups[name] = group
	}
	for name, role := range d.Roles {
		r := *role
		r.Includes = sorted(r.Includes)
		r.SessionPolicyARNs = sorted(r.SessionPolicyARNs)
		r.PermissionARNs = sorted(r.PermissionARNs)
		r.Tags = maps.Clone(r.Tags)
		if r.Approval != nil {
			a := *r.Approval
			a.By, a.EscalateTo = sorted(a.By), sorted(a.EscalateTo)
			r.Approval = &a
		}
		c.Roles[name] = &r
	}
	return c
}

// sorted returns a sorted copy, nil if there is nothing in it.
func sorted[T ~string](list []T) []T {
	return slices.Sorted(slices.Values(list))
}

// sortGrants returns a copy sorted by Role, its times in UTC; nil if there is
// nothing in it.
func sortGrants(grants []Grant) []Grant {
	grants = append([]Grant(nil), grants...)
	for i, g := range grants {
		if !g.Expires.IsZero() {
			grants[i].Expires = g.Expires.Round(0).UTC()
		}
	}
	slices.SortFunc(grants, func(a, b Grant) int { return strings.Compare(string(a.Role), string(b.Role)) })
	return grants
}
