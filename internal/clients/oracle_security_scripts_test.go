package clients

import "github.com/twmb/franz-go/pkg/kmsg"

func scriptSASL(s *script) {
	s.norm.texts = true
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", ""} {
		s.versions("handshake "+mechanism, 0, 1, func(int16) kmsg.Request {
			req := kmsg.NewPtrSASLHandshakeRequest()
			req.Mechanism = mechanism
			return req
		})
	}
	s.versions("authenticate", 0, 2, func(int16) kmsg.Request {
		req := kmsg.NewPtrSASLAuthenticateRequest()
		req.SASLAuthBytes = []byte("\x00user\x00password")
		return req
	})
}

func scriptACLs(s *script) {
	s.norm.texts = true
	any, name := "*", "acl"
	s.versions("describe", 1, 3, func(int16) kmsg.Request {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 1, 1, 1, 1
		return req
	})
	s.ask("describe kinds that are none", 3, func() kmsg.Request {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 99, 99, 99, 99
		return req
	}())
	s.versions("create", 1, 3, func(int16) kmsg.Request {
		req := kmsg.NewPtrCreateACLsRequest()
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType, c.Principal, c.Host, c.Operation, c.PermissionType = 2, "acl", 3, "User:a", "*", 3, 3
		req.Creations = append(req.Creations, c, c)
		return req
	})
	s.ask("create nothing", 3, kmsg.NewPtrCreateACLsRequest())
	s.versions("delete", 1, 3, func(int16) kmsg.Request {
		req := kmsg.NewPtrDeleteACLsRequest()
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourceName, f.ResourcePatternType, f.Host, f.Operation, f.PermissionType = 2, &name, 3, &any, 1, 1
		req.Filters = append(req.Filters, f)
		return req
	})
	s.ask("delete nothing", 3, kmsg.NewPtrDeleteACLsRequest())
}

func scriptDelegationTokens(s *script) {
	s.norm.texts = true
	s.versions("create", 1, 3, func(int16) kmsg.Request {
		req := kmsg.NewPtrCreateDelegationTokenRequest()
		req.MaxLifetimeMillis = 1000
		return req
	})
	s.versions("renew", 1, 2, func(int16) kmsg.Request {
		req := kmsg.NewPtrRenewDelegationTokenRequest()
		req.HMAC, req.RenewTimeMillis = []byte("x"), 1000
		return req
	})
	s.versions("expire", 1, 2, func(int16) kmsg.Request {
		req := kmsg.NewPtrExpireDelegationTokenRequest()
		req.HMAC, req.ExpiryPeriodMillis = []byte("x"), 1000
		return req
	})
	s.versions("describe", 1, 3, func(int16) kmsg.Request { return kmsg.NewPtrDescribeDelegationTokenRequest() })
}

func scriptSCRAM(s *script) {
	s.norm.texts = true
	describe := func(users ...string) *kmsg.DescribeUserSCRAMCredentialsRequest {
		req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		for _, name := range users {
			u := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
			u.Name = name
			req.Users = append(req.Users, u)
		}
		return req
	}
	upsert := func(name string, mechanism int8, iterations int32, password string) *kmsg.AlterUserSCRAMCredentialsRequest {
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = name, mechanism, iterations, []byte("salt"), []byte(password)
		req.Upsertions = append(req.Upsertions, u)
		return req
	}
	remove := func(name string, mechanism int8) *kmsg.AlterUserSCRAMCredentialsRequest {
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
		d.Name, d.Mechanism = name, mechanism
		req.Deletions = append(req.Deletions, d)
		return req
	}
	s.ask("describe all, none there", 0, describe())
	s.ask("describe one that is none", 0, describe("scram-a"))
	s.ask("remove one that is none", 0, remove("scram-a", 1))
	s.ask("make one", 0, upsert("scram-a", 1, 4096, "salted"))
	s.ask("make its other", 0, upsert("scram-a", 2, 8192, "salted"))
	s.ask("make another", 0, upsert("scram-b", 2, 4096, "salted"))
	s.settled()
	s.ask("describe all", 0, describe())
	s.ask("describe one", 0, describe("scram-b"))
	s.ask("describe one twice", 0, describe("scram-b", "scram-b"))
	s.ask("describe one and one that is none", 0, describe("scram-b", "scram-c"))
	s.ask("describe no name", 0, describe(""))
	s.ask("change one", 0, upsert("scram-b", 2, 5000, "salted"))
	s.ask("too few iterations", 0, upsert("scram-b", 2, 4095, "salted"))
	s.ask("too many iterations", 0, upsert("scram-b", 2, 16385, "salted"))
	s.ask("no name", 0, upsert("", 2, 4096, "salted"))
	s.ask("a mechanism that is none", 0, upsert("scram-b", 0, 4096, "salted"))
	s.ask("a mechanism that is none", 0, upsert("scram-b", 9, 4096, "salted"))
	s.ask("remove no name", 0, remove("", 1))
	s.ask("remove a mechanism that is none", 0, remove("scram-b", 9))
	s.ask("remove a mechanism that it has not", 0, remove("scram-b", 1))
	twice := upsert("scram-b", 2, 4096, "salted")
	twice.Upsertions = append(twice.Upsertions, twice.Upsertions...)
	s.ask("one twice", 0, twice)
	both := upsert("scram-b", 2, 4096, "salted")
	both.Deletions = remove("scram-b", 2).Deletions
	s.ask("one made and removed", 0, both)
	some := upsert("scram-c", 2, 4096, "salted")
	some.Deletions = append(remove("scram-a", 1).Deletions, remove("scram-d", 1).Deletions...)
	s.ask("several", 0, some)
	s.settled()
	s.ask("describe all after", 0, describe())
	gone := remove("scram-a", 2)
	gone.Deletions = append(gone.Deletions, remove("scram-b", 2).Deletions...)
	gone.Deletions = append(gone.Deletions, remove("scram-c", 2).Deletions...)
	s.ask("remove them", 0, gone)
	s.ask("nothing", 0, kmsg.NewPtrAlterUserSCRAMCredentialsRequest())
	s.settled()
	s.ask("describe all at the end", 0, describe())
}
