package metadata

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"testing"
)

// TestScramKeys is the exchange of RFC 7677: the server's signature over its messages
// follows from the server key, and the client's proof from the stored one.
func TestScramKeys(t *testing.T) {
	decode := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const messages = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	salted, err := pbkdf2.Key(sha256.New, "pencil", decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	stored, server := scramMechanisms[1].keys(salted)
	if got := scramMAC(server, messages); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("the server signs with %s", got)
	}
	proof, signature := decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), decode(scramMAC(stored, messages))
	for i := range proof {
		proof[i] ^= signature[i] // the client key
	}
	if sum := sha256.Sum256(proof); string(sum[:]) != string(stored) {
		t.Error("the client's proof does not lead to the stored key")
	}
}

func scramMAC(key []byte, text string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
