package reactor

// Abandon unmaps the memory of a core whose machine has stopped under it: what a
// simulation calls after a crash, when nothing that was in flight will ever end.
// Neither the core nor a block of its may be used afterwards.
func (c *Core) Abandon() {
	if c.provided != nil {
		_ = c.provided.ring.Close() // unregistering fails: its kernel is gone too
	}
	c.Arena.close()
}
