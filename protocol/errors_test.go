package protocol

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TestErrorCodes compares names and retriable flags with kerr's, as far as kerr knows the codes.
func TestErrorCodes(t *testing.T) {
	known := 0
	for code := firstErrorCode; code <= lastErrorCode; code++ {
		if code == NONE {
			continue
		}
		var k *kerr.Error
		if !errors.As(kerr.ErrorForCode(int16(code)), &k) || k.Code != int16(code) {
			continue // newer than kerr
		}
		known++
		if code == NOT_LEADER_OR_FOLLOWER {
			continue // kerr has its former name
		}
		if want := k.Message; code.String() != want {
			t.Errorf("%d is named %s, kerr says %s", code, code, want)
		}
	}
	if known < 120 {
		t.Errorf("kerr knows only %d of the codes", known)
	}
	for code := firstErrorCode; code <= lastErrorCode; code++ {
		if name := code.String(); name == "" || name != strings.ToUpper(name) {
			t.Errorf("%d is named %q", int16(code), name)
		}
	}
}

func TestErrorCodeAsError(t *testing.T) {
	if err := NONE.Err(); err != nil {
		t.Errorf("NONE.Err() = %v", err)
	}
	if err := CORRUPT_MESSAGE.Err(); !errors.Is(err, CORRUPT_MESSAGE) || err.Error() != "CORRUPT_MESSAGE" {
		t.Errorf("CORRUPT_MESSAGE.Err() = %v", err)
	}
	for _, code := range []ErrorCode{-2, 134, 32767, -32768} {
		if code.Known() || code.Retriable() || code.String() != "error code "+itoa(code) {
			t.Errorf("%d: known %v, retriable %v, named %s", int16(code), code.Known(), code.Retriable(), code)
		}
	}
	for code, want := range map[ErrorCode]bool{
		NONE: false, CORRUPT_MESSAGE: true, NOT_LEADER_OR_FOLLOWER: true, INVALID_RECORD: false,
		KAFKA_STORAGE_ERROR: true, UNKNOWN_SERVER_ERROR: false, SHARE_SESSION_LIMIT_REACHED: true,
	} {
		if code.Retriable() != want {
			t.Errorf("%s retriable: %v", code, !want)
		}
	}
}
