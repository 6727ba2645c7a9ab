package metadata

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// scramMechanism is a SCRAM mechanism (RFC 5802, RFC 7677) by its number in requests.
type scramMechanism struct {
	new func() hash.Hash
}

var scramMechanisms = map[int8]scramMechanism{1: {sha256.New}, 2: {sha512.New}}

// Bounds of a credential's iterations.
const (
	minScramIterations = 4096
	maxScramIterations = 16384
)

// keys are what a broker needs of a salted password: it cannot be had back from them.
func (m scramMechanism) keys(saltedPassword []byte) (stored, server []byte) {
	mac := func(text string) []byte {
		h := hmac.New(m.new, saltedPassword)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	h := m.new()
	h.Write(mac("Client Key"))
	return h.Sum(nil), mac("Server Key")
}

// AlterUserScramCredentials decides an AlterUserScramCredentials request (key 51).
// Users are refused one by one, each whole. Credentials are kept and described;
// without SASL nobody asks for a password.
func (c *Controller) AlterUserScramCredentials(req *kmsg.AlterUserSCRAMCredentialsRequest) (*kmsg.AlterUserSCRAMCredentialsResponse, []Record) {
	refusals := map[string]*Refusal{} // of each user; nil: none yet
	again := map[string]bool{}
	var users []string
	note := func(user string, mechanism int8, r *Refusal) {
		old, seen := refusals[user]
		if !seen {
			users = append(users, user)
		}
		at := scramIdentity(user, mechanism)
		switch {
		case seen && again[at]:
			r = &Refusal{protocol.DUPLICATE_RESOURCE, "A user credential cannot be altered twice in the same request"}
		case old != nil:
			r = old
		}
		again[at] = true
		refusals[user] = r
	}
	for i := range req.Deletions {
		d := &req.Deletions[i]
		note(d.Name, d.Mechanism, c.checkScramDeletion(d))
	}
	for i := range req.Upsertions {
		u := &req.Upsertions[i]
		note(u.Name, u.Mechanism, checkScramUpsertion(u))
	}
	slices.Sort(users)
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	for _, user := range users {
		result := kmsg.AlterUserSCRAMCredentialsResponseResult{User: user}
		if r := refusals[user]; r != nil {
			result.ErrorCode, result.ErrorMessage = int16(r.Code), r.text()
		}
		resp.Results = append(resp.Results, result)
	}
	return resp, scramRecords(req, refusals)
}

func scramRecords(req *kmsg.AlterUserSCRAMCredentialsRequest, refusals map[string]*Refusal) (records []Record) {
	for i := range req.Deletions {
		if d := &req.Deletions[i]; refusals[d.Name] == nil {
			records = append(records, &RemoveUserScramCredentialRecord{Name: d.Name, Mechanism: d.Mechanism})
		}
	}
	for i := range req.Upsertions {
		u := &req.Upsertions[i]
		if refusals[u.Name] != nil {
			continue
		}
		stored, server := scramMechanisms[u.Mechanism].keys(u.SaltedPassword)
		records = append(records, &UserScramCredentialRecord{
			Name: u.Name, Mechanism: u.Mechanism, Salt: slices.Clone(u.Salt), StoredKey: stored, ServerKey: server, Iterations: u.Iterations,
		})
	}
	return records
}

func (c *Controller) checkScramDeletion(d *kmsg.AlterUserSCRAMCredentialsRequestDeletion) *Refusal {
	if r := checkScramName(d.Name, d.Mechanism); r != nil {
		return r
	}
	if c.Image.scramCredential(d.Name, d.Mechanism) == nil {
		return &Refusal{protocol.RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist"}
	}
	return nil
}

func checkScramUpsertion(u *kmsg.AlterUserSCRAMCredentialsRequestUpsertion) *Refusal {
	switch r := checkScramName(u.Name, u.Mechanism); {
	case r != nil:
		return r
	case u.Iterations < minScramIterations:
		return &Refusal{protocol.UNACCEPTABLE_CREDENTIAL, "Too few iterations"}
	case u.Iterations > maxScramIterations:
		return &Refusal{protocol.UNACCEPTABLE_CREDENTIAL, "Too many iterations"}
	}
	return nil
}

func checkScramName(name string, mechanism int8) *Refusal {
	if name == "" {
		return &Refusal{protocol.UNACCEPTABLE_CREDENTIAL, "Username must not be empty"}
	}
	if _, ok := scramMechanisms[mechanism]; !ok {
		return &Refusal{protocol.UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism"}
	}
	return nil
}

func (im *Image) scramCredential(name string, mechanism int8) *UserScramCredentialRecord {
	key, id := (*UserScramCredentialRecord)(nil).Key(), scramIdentity(name, mechanism)
	if i, ok := im.searchKept(key, id); ok {
		return im.kept[i].record.(*UserScramCredentialRecord)
	}
	return nil
}

// scramCredentials are those of all users, by user and mechanism.
func (im *Image) scramCredentials() (all []*UserScramCredentialRecord) {
	for i := range im.kept {
		if r, ok := im.kept[i].record.(*UserScramCredentialRecord); ok {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b *UserScramCredentialRecord) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// DescribeUserScramCredentials answers a DescribeUserScramCredentials request (key
// 50): which credentials users have, of the users asked for or of all.
func (im *Image) DescribeUserScramCredentials(req *kmsg.DescribeUserSCRAMCredentialsRequest) *kmsg.DescribeUserSCRAMCredentialsResponse {
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	empty := ""
	resp.ErrorMessage = &empty
	of := map[string][]kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo{}
	var names []string
	for _, c := range im.scramCredentials() {
		if of[c.Name] == nil {
			names = append(names, c.Name)
		}
		of[c.Name] = append(of[c.Name], kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo{Mechanism: c.Mechanism, Iterations: c.Iterations})
	}
	count := map[string]int{}
	if len(req.Users) > 0 {
		names = nil
		for _, u := range req.Users {
			if count[u.Name]++; count[u.Name] == 1 {
				names = append(names, u.Name)
			}
		}
	}
	for _, name := range names {
		result := kmsg.DescribeUserSCRAMCredentialsResponseResult{User: name, ErrorMessage: &empty, CredentialInfos: of[name]}
		var r *Refusal
		switch {
		case count[name] > 1:
			r = refuse(protocol.DUPLICATE_RESOURCE, "Cannot describe SCRAM credentials for the same user twice in a single request: %s", name)
		case of[name] == nil:
			r = refuse(protocol.RESOURCE_NOT_FOUND, "Attempt to describe a user credential that does not exist: %s", name)
		}
		if r != nil {
			result.ErrorCode, result.ErrorMessage, result.CredentialInfos = int16(r.Code), r.text(), nil
		}
		resp.Results = append(resp.Results, result)
	}
	return resp
}
