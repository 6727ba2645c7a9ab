package broker

import "slipstream/reactor"

// connState is what this broker keeps of a connection (reactor.Conn.User), once
// there is something.
type connState struct {
	software, softwareVersion string // what the client has said of itself in ApiVersions
	client                    client // for its quotas
	counted                   bool   // by the doorkeeper
}

func stateOf(conn *reactor.Conn) *connState {
	state, _ := conn.User.(*connState)
	if state == nil {
		state = new(connState)
		conn.User = state
	}
	return state
}
