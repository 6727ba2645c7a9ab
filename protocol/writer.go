package protocol

import "encoding/binary"

// The Append functions write the primitive types of Kafka's protocol to the end of
// b, as append does. They allocate only when b's capacity does not suffice.

// text is what the string functions take, so that neither form has to be copied into the other.
type text interface{ ~string | ~[]byte }

// AppendBool appends one byte.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendInt8 appends one byte.
func AppendInt8(b []byte, v int8) []byte { return append(b, byte(v)) }

// AppendInt16 appends two bytes, big-endian.
func AppendInt16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }

// AppendInt32 appends four bytes, big-endian.
func AppendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

// AppendInt64 appends eight bytes, big-endian.
func AppendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

// AppendUvarint appends a variable-length unsigned integer, 1 to 5 bytes.
func AppendUvarint(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

// AppendVarint appends a zigzag variable-length integer, 1 to 5 bytes.
func AppendVarint(b []byte, v int32) []byte { return binary.AppendUvarint(b, uint64(zigzag32(v))) }

// AppendVarlong appends a zigzag variable-length integer, 1 to 10 bytes.
func AppendVarlong(b []byte, v int64) []byte { return binary.AppendUvarint(b, zigzag64(v)) }

// AppendUUID appends sixteen bytes.
func AppendUUID(b []byte, u UUID) []byte { return append(b, u[:]...) }

// AppendString appends an int16 length and s, which must be shorter than 32 KiB.
func AppendString[T text](b []byte, s T) []byte {
	return append(AppendInt16(b, int16(len(s))), s...)
}

// AppendNullString appends a string that is null.
func AppendNullString(b []byte) []byte { return AppendInt16(b, -1) }

// AppendCompactString appends a length, as an unsigned varint one too high, and s. Compact bytes
// have the same form.
func AppendCompactString[T text](b []byte, s T) []byte {
	return append(AppendUvarint(b, uint32(len(s)+1)), s...)
}

// AppendCompactNull appends a compact string, bytes or array that is null.
func AppendCompactNull(b []byte) []byte { return append(b, 0) }

// AppendBytes appends an int32 length and p.
func AppendBytes(b, p []byte) []byte { return append(AppendInt32(b, int32(len(p))), p...) }

// AppendArrayLength appends a count of elements; -1 is a null array.
func AppendArrayLength(b []byte, n int, flexible bool) []byte {
	if flexible {
		return AppendUvarint(b, uint32(n+1))
	}
	return AppendInt32(b, int32(n))
}

// appendStringForm appends s in the form that the message's version has.
func appendStringForm[T text](b []byte, s T, flexible bool) []byte {
	if flexible {
		return AppendCompactString(b, s)
	}
	return AppendString(b, s)
}

// appendNullableForm is appendStringForm where the empty string stands for null.
func appendNullableForm(b []byte, s string, flexible bool) []byte {
	switch {
	case s != "":
		return appendStringForm(b, s, flexible)
	case flexible:
		return AppendCompactNull(b)
	default:
		return AppendNullString(b)
	}
}
