package share

// DecodeRecord reads a record of __share_group_state, for tools that read the log: the name of its schema, the
// share-partition, and the state, nil where there is no value. Of an update only the fields that it has are set. An
// *UnknownRecordError is a type or version that is not known; any other error means that it is damaged.
func DecodeRecord(key, value []byte) (schema string, k Key, s *State, err error) {
	kind, k, err := parseKey(key)
	if err != nil {
		return "", k, nil, err
	}
	schema = "ShareSnapshot"
	if kind == updateType {
		schema = "ShareUpdate"
	}
	if value == nil {
		return schema, k, nil, nil
	}
	state, err := parseValue(kind, value)
	if err != nil {
		return schema, k, nil, err
	}
	return schema, k, &state, nil
}
